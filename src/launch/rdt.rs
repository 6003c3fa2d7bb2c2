//! Intel RDT: the init joins its class of service before it is written down, so that an
//! init that is in the record has one.

use super::LaunchError;
use super::attempt::Attempt;

impl Attempt<'_> {
    /// Makes the group that was intended and puts the init in.
    pub(super) fn enter_rdt_group(&mut self) -> Result<(), LaunchError> {
        if self.state.rdt.is_none() {
            return Ok(());
        }
        let (pid, _) = self.child()?;
        if let (Some(record), Some(plan)) = (&mut self.state.rdt, &self.rdt_plan) {
            record.apply(plan, pid.as_raw_nonzero().get())?;
        }
        Ok(())
    }
}
