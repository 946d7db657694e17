//! The count of dropped packets beside the samples: begun before the first, read with each.

use crate::cli::HostArgs;
use faultmap_host::drops::{DropWatch, DropsUnavailable, Scope, name_processes};
use faultmap_model::host::HostReport;
use faultmap_model::host::drops::{DropReport, DropSample, Drops};

/// A count that goes on, or why there is none.
pub(super) struct Counting {
    watch: Result<DropWatch, Drops>,
    before: Option<DropSample>,
}

impl Counting {
    /// Begins, if it is wanted. Called once the namespace has been entered.
    pub(super) fn begin(args: &HostArgs) -> Option<Self> {
        let scope = if args.all_namespaces { Scope::All } else { Scope::OwnNamespace };
        args.drops.then(|| Self { watch: DropWatch::start(scope).map_err(Drops::from), before: None })
    }

    /// What was dropped since the last time.
    pub(super) fn next(&mut self) -> Drops {
        match self.read() {
            Ok(after) => {
                let mut report = DropReport::new(self.before.as_ref(), &after);
                self.before = Some(after);
                name_processes(&mut report);
                Drops::Counted(report)
            }
            Err(unavailable) => unavailable,
        }
    }

    /// What was dropped since it began.
    pub(super) fn all(&self) -> Option<DropReport> {
        self.read().ok().map(|sample| DropReport::new(None, &sample))
    }

    fn read(&self) -> Result<DropSample, Drops> {
        match &self.watch {
            Ok(watch) => watch.read().map_err(|error: DropsUnavailable| Drops::from(error)),
            Err(unavailable) => Err(unavailable.clone()),
        }
    }
}

/// The report, with what was dropped if that is counted.
pub(super) fn with_drops(report: HostReport, counting: Option<&mut Counting>) -> HostReport {
    match counting {
        Some(counting) => report.with_drops(counting.next()),
        None => report,
    }
}
