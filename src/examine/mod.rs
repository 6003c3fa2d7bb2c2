//! `corten check`: everything that is wrong with a bundle, in its text and on this host, and
//! what would be done with it. Nothing is made, changed or started.
//!
//! The checks are those of a launch, which stop at the first error; [`mend`] gets all of them.
//! [`host`] looks at what a launch would find out by failing, [`show`] tells the plan.

mod cover;
mod host;
mod mend;
mod program;
pub mod show;

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::cgroup::Cgroupfs;
use crate::config::{self, ConfigError, Spec, Warning};
use crate::launch::{LaunchError, open_bundle};
use crate::plan::cgroup::{CgroupPlan, Host, Manager};
use crate::plan::{self, Plan, seccomp};

/// The container's id where the text asks for one.
const ID: &str = "CONTAINER-ID";
/// How many unknown members are named.
const UNKNOWN_MOST: usize = 100;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The container cannot be made.
    Error,
    /// It can, and something is not as it is written.
    Warning,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Its place in config.json; empty for the file as a whole.
    pub pointer: String,
    /// What was found and what is allowed.
    pub message: String,
    /// How to mend it, where there is something to say.
    pub hint: Option<String>,
    /// The value that stands there, as JSON, if it is short.
    pub value: Option<String>,
}

impl From<ConfigError> for Finding {
    fn from(error: ConfigError) -> Self {
        Finding {
            severity: Severity::Error,
            pointer: error.pointer,
            message: error.message,
            hint: error.hint,
            value: None,
        }
    }
}

impl From<Warning> for Finding {
    fn from(warning: Warning) -> Self {
        Finding {
            severity: Severity::Warning,
            pointer: warning.pointer,
            message: warning.message,
            hint: None,
            value: None,
        }
    }
}

/// What is to be examined, and with which options it would be run.
#[derive(Debug)]
pub struct Request {
    /// The bundle.
    pub bundle: PathBuf,
    /// Who would make the cgroup.
    pub manager: Manager,
    /// Whether a container may go without a cgroup that cannot be made.
    pub rootless: bool,
}

/// What was found.
pub struct Examination {
    /// Errors first, each kind in the order of the checks.
    pub findings: Vec<Finding>,
    /// What would be done, by sections; empty if there are errors.
    pub plan: Vec<(&'static str, serde_json::Value)>,
}

impl Examination {
    /// How many findings are of this kind.
    pub fn count(&self, severity: Severity) -> usize {
        let those = self.findings.iter().filter(|f| f.severity == severity);
        those.count()
    }
}

/// What the text comes to on this host.
struct Planned {
    plan: Plan,
    cgroup: CgroupPlan,
    seccomp: Option<seccomp::Program>,
    rdt: Option<plan::rdt::RdtPlan>,
    warnings: Vec<Warning>,
}

/// Examines a bundle.
///
/// # Errors
/// There is no bundle, or no config.json in it that can be read.
pub fn examine(request: &Request) -> Result<Examination, LaunchError> {
    let (bundle, dir) = open_bundle(&request.bundle)?;
    let text = config::read(dir.as_fd(), "config.json")
        .map_err(|error| LaunchError::Read(bundle.clone(), error))?;

    let mut first = Vec::new();
    let (cgroups, problem) = cgroup_host(request);
    first.extend(problem);
    let judged = |text: &[u8]| {
        let spec = config::parse(text)?;
        judge(&spec, &bundle, request.manager, &cgroups).map(|planned| planned.warnings)
    };
    let mended = mend::problems(&text, judged);
    let mut findings = mended.findings;
    findings.splice(0..0, first);
    let value = serde_json::from_slice(&text).unwrap_or(serde_json::Value::Null);
    let unknown = config::unknown_members(&value, UNKNOWN_MOST);
    findings.extend(unknown.into_iter().map(Finding::from));

    let mut sections = Vec::new();
    if let Some(text) = &mended.text
        && let Ok(spec) = config::parse(text)
        && let Ok(planned) = judge(&spec, &bundle, request.manager, &cgroups)
    {
        let wrong: Vec<String> = findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .map(|finding| finding.pointer.clone())
            .collect();
        for mut finding in host::problems(request, &spec, &planned, &cgroups, Path::new(&bundle)) {
            finding.pointer = mended.numbers.original(&finding.pointer);
            // What stands in for a wrong value is nobody's fault.
            let stands_in = |wrong: &String| {
                finding.pointer == *wrong || finding.pointer.starts_with(&format!("{wrong}/"))
            };
            if !wrong.iter().any(stands_in) {
                findings.push(finding);
            }
        }
        if findings.iter().all(|f| f.severity != Severity::Error) {
            sections = show::sections(&spec, &planned);
        }
    }
    for finding in &mut findings {
        finding.value = excerpt(&value, &finding.pointer);
    }
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for finding in findings {
        match finding.severity {
            Severity::Error => errors.push(finding),
            Severity::Warning => warnings.push(finding),
        }
    }
    errors.append(&mut warnings);
    Ok(Examination {
        findings: errors,
        plan: sections,
    })
}

/// What a launch does before its first effect.
fn judge(
    spec: &Spec<'_>,
    bundle: &str,
    manager: Manager,
    host: &Host,
) -> Result<Planned, ConfigError> {
    let mut warnings = config::check(spec)?;
    let mut plan = plan::plan(spec, bundle)?;
    if !rustix::process::geteuid().is_root() && !plan.namespaces.has(libc::CLONE_NEWUSER as u64) {
        crate::launch::ids::plan_user_namespace(&mut plan);
        warnings.push(Warning {
            pointer: "/linux/namespaces".to_owned(),
            message: "a user other than root needs a user namespace: one is added".to_owned(),
        });
    }
    let absent = config::spec::Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&absent);
    let seccomp = match &linux.seccomp {
        Some(section) => Some(
            seccomp::compile(section, seccomp::Arch::NATIVE)
                .map_err(|error| ConfigError::new(error.pointer, error.message))?,
        ),
        None => None,
    };
    warnings.extend(
        seccomp
            .iter()
            .flat_map(|program| &program.warnings)
            .map(|text| seccomp_warning(text)),
    );
    let mut cgroup = plan::cgroup::plan(manager, linux, ID, host)
        .map_err(|error| ConfigError::new(error.pointer, error.message))?;
    cgroup.owner = plan::cgroup::owner(spec, host);
    if cgroup.unit.is_some() {
        let all = spec.annotations.iter();
        plan::cgroup::systemd::annotations(all.map(|(k, v)| (k.as_ref(), v.as_ref())))
            .map_err(|error| ConfigError::new(error.pointer, error.message))?;
    }
    warnings.extend(cgroup.warnings.iter().map(|text| {
        let (pointer, message) = text.split_once(": ").unwrap_or(("", text));
        Warning {
            pointer: pointer.to_owned(),
            message: message.to_owned(),
        }
    }));
    let rdt = match &linux.intel_rdt {
        Some(rdt) => Some(plan::rdt::plan(rdt, ID)?),
        None => None,
    };
    Ok(Planned {
        plan,
        cgroup,
        seccomp,
        rdt,
        warnings,
    })
}

/// The compiler has the place at the end of its sentence.
fn seccomp_warning(text: &str) -> Warning {
    match text
        .strip_suffix(')')
        .and_then(|text| text.rsplit_once(" ("))
    {
        Some((message, pointer)) if pointer.starts_with('/') => Warning {
            pointer: pointer.to_owned(),
            message: message.to_owned(),
        },
        _ => Warning {
            pointer: "/linux/seccomp".to_owned(),
            message: text.to_owned(),
        },
    }
}

/// The host's cgroups, and what is wrong with them.
fn cgroup_host(request: &Request) -> (Host, Option<Finding>) {
    let error = match Cgroupfs::open() {
        Ok(cgroupfs) => return (cgroupfs.host().clone(), None),
        Err(error) => error,
    };
    let problem = (request.manager != Manager::Disabled).then(|| Finding {
        severity: match request.rootless {
            true => Severity::Warning,
            false => Severity::Error,
        },
        pointer: "/linux/cgroupsPath".to_owned(),
        message: error.to_string(),
        hint: Some("--cgroup-manager=disabled runs containers without cgroups".to_owned()),
        value: None,
    });
    (Host::default(), problem)
}

/// How much of a value is shown, in bytes.
const SHOWN: usize = 100;

/// The value at a place, unless it may hold a secret or says nothing.
fn excerpt(config: &serde_json::Value, pointer: &str) -> Option<String> {
    if pointer.is_empty() || pointer.starts_with("/process/env") {
        return None;
    }
    let text = config.pointer(pointer)?.to_string();
    (text.len() <= SHOWN).then_some(text)
}
