//! `linux.seccomp` of config.json.

use super::Text;
use crate::config::member::spec_struct;

spec_struct! {
    /// `linux.seccomp`.
    Seccomp<'a> {
        /// What happens to a call that no rule names.
        default_action: Text<'a>,
        /// errno of `SCMP_ACT_ERRNO` and `SCMP_ACT_TRACE` as default; EPERM where absent.
        default_errno_ret: Option<u32>,
        /// `SCMP_ARCH_X86_64` and so on; empty means the native one.
        architectures: Vec<Text<'a>>,
        /// `SECCOMP_FILTER_FLAG_*`; absent means the default, an empty list none.
        flags: Option<Vec<Text<'a>>>,
        /// Socket that gets the listener of `SCMP_ACT_NOTIFY`.
        listener_path: Option<Text<'a>>,
        /// Passed on to it.
        listener_metadata: Option<Text<'a>>,
        /// The rules.
        syscalls: Vec<SeccompSyscall<'a>>,
    }
}

spec_struct! {
    /// One element of `linux.seccomp.syscalls`.
    SeccompSyscall<'a> {
        /// System calls by name.
        names: Vec<Text<'a>>,
        /// `SCMP_ACT_ALLOW` and so on.
        action: Text<'a>,
        /// errno of `SCMP_ACT_ERRNO` and `SCMP_ACT_TRACE`; EPERM where absent.
        errno_ret: Option<u32>,
        /// Conditions, all of which must hold.
        args: Vec<SeccompArg<'a>>,
    }
}

spec_struct! {
    /// Condition on one argument.
    SeccompArg<'a> {
        /// Which argument, 0 to 5.
        index: u32,
        /// What it is compared with; the mask of `SCMP_CMP_MASKED_EQ`.
        value: u64,
        /// The value of `SCMP_CMP_MASKED_EQ`.
        value_two: u64,
        /// `SCMP_CMP_EQ` and so on.
        op: Text<'a>,
    }
}
