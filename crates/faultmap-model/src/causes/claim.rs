//! What a cause says of the evidence: proven, likely, or contradicted, and by which observations.

use crate::ObservationId;
use crate::verdict::{Locus, NextStep, Where};

/// How strongly the evidence speaks.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub enum Standing {
    /// A signature that no other cause shares (a positive offender: an ICMP with its sender, an alert, a status).
    Proven(f64),
    /// It fits, and so may others. The number is 0 to 1.
    Likely(f64),
    /// The evidence excludes it; worth saying because a user would suspect it.
    Contradicted,
}

/// Whether the target fails by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The target does not do what was asked.
    Breaks,
    /// It does, slowly or at risk.
    Degrades,
}

/// One cause's opinion of one recording. It must cite observations.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// How strongly.
    pub standing: Standing,
    /// How bad.
    pub severity: Severity,
    /// The evidence.
    pub because: Vec<ObservationId>,
    /// Where.
    pub locus: Locus,
    /// One sentence a person would say aloud, with the names and numbers of this case.
    pub summary: String,
    /// The cause breaks things although answers from above its layer were seen (large packets lost, a reset in mid-stream, a share of
    /// connections lost): the rule "an answer proves the road below it" does not apply.
    pub despite_answers: bool,
    /// The packets went to the wrong place because of this cause: what fails on the way there, at whatever layer, is its consequence.
    pub misleads: bool,
    /// The test that would decide, when the claim is only likely. Comes before the cause's own tools.
    pub decides: Vec<NextStep>,
    /// Advice for this case, before the cause's own.
    pub advice: Vec<String>,
}

impl Claim {
    /// A broken target, proven with this confidence.
    #[must_use]
    pub fn proven(confidence: f64, side: Where, at: impl Into<String>, summary: impl Into<String>) -> Self {
        Self::new(Standing::Proven(confidence), Severity::Breaks, side, at.into(), summary.into())
    }

    /// A broken target, this cause being one that fits.
    #[must_use]
    pub fn likely(confidence: f64, side: Where, at: impl Into<String>, summary: impl Into<String>) -> Self {
        Self::new(Standing::Likely(confidence), Severity::Breaks, side, at.into(), summary.into())
    }

    /// Works, but slow or at risk.
    #[must_use]
    pub fn degrades(confidence: f64, side: Where, at: impl Into<String>, summary: impl Into<String>) -> Self {
        Self::new(Standing::Proven(confidence), Severity::Degrades, side, at.into(), summary.into())
    }

    /// Excluded; `why` is shown under "ruled out".
    #[must_use]
    pub fn contradicted(because: Vec<ObservationId>, why: impl Into<String>) -> Self {
        Self::new(Standing::Contradicted, Severity::Breaks, Where::Path, String::new(), why.into()).citing(because)
    }

    fn new(standing: Standing, severity: Severity, side: Where, at: String, summary: String) -> Self {
        Self {
            standing,
            severity,
            because: Vec::new(),
            locus: Locus { side, at },
            summary,
            despite_answers: false,
            misleads: false,
            decides: Vec::new(),
            advice: Vec::new(),
        }
    }

    /// Adds evidence.
    #[must_use]
    pub fn citing(mut self, ids: impl IntoIterator<Item = ObservationId>) -> Self {
        self.because.extend(ids);
        self
    }

    /// See [`Claim::despite_answers`].
    #[must_use]
    pub fn despite_answers(mut self) -> Self {
        self.despite_answers = true;
        self
    }

    /// See [`Claim::misleads`].
    #[must_use]
    pub fn misleading(mut self) -> Self {
        self.misleads = true;
        self
    }

    /// Adds the test that decides.
    #[must_use]
    pub fn decided_by(mut self, run: impl Into<String>, on: impl Into<String>, why: impl Into<String>) -> Self {
        self.decides.push(NextStep { run: run.into(), on: on.into(), why: why.into() });
        self
    }

    /// Adds advice for this case.
    #[must_use]
    pub fn advising(mut self, advice: impl Into<String>) -> Self {
        self.advice.push(advice.into());
        self
    }

    /// 0 to 1; 0 when contradicted.
    #[must_use]
    pub const fn confidence(&self) -> f64 {
        match self.standing {
            Standing::Proven(confidence) | Standing::Likely(confidence) => confidence,
            Standing::Contradicted => 0.0,
        }
    }
}
