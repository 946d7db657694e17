//! A question that stays silent may be dropped because it carries EDNS (RFC 6891): old servers and middleboxes do that. So it is asked
//! without as well, beside the first.

use super::Check;
use crate::dns::{self, DnsAsk};
use faultmap_model::observation::{DnsAnswer, DnsOutcome, DnsQuery};
use std::future::Future;
use std::time::Duration;

/// The first question's second datagram leaves after one second.
const AFTER: Duration = Duration::from_millis(1_100);
/// Two datagrams.
const WAIT: Duration = Duration::from_millis(1_400);

/// Nothing came in time.
pub(super) const fn silent(query: &DnsQuery) -> bool {
    matches!(query.outcome, DnsOutcome::Silent { .. })
}

impl Check<'_> {
    /// `asking`, and beside it the same question without EDNS if it is silent for long.
    pub(super) async fn or_without_edns(
        &self,
        ask: &DnsAsk,
        asking: impl Future<Output = Option<DnsQuery>>,
    ) -> (Option<DnsQuery>, Option<DnsAnswer>) {
        let asking = async {
            let query = asking.await;
            (query.clone(), query)
        };
        self.or_without_edns_beside(ask, asking).await
    }

    /// As [`or_without_edns`](Self::or_without_edns), for an `asking` that gives more than the query that counts.
    pub(super) async fn or_without_edns_beside<T>(
        &self,
        ask: &DnsAsk,
        asking: impl Future<Output = (T, Option<DnsQuery>)>,
    ) -> (T, Option<DnsAnswer>) {
        let plain = async {
            tokio::time::sleep(AFTER).await;
            self.ask_without_edns(ask).await
        };
        tokio::pin!(asking, plain);
        tokio::select! {
            (given, counts) = &mut asking => {
                let plain = if counts.as_ref().is_some_and(silent) { plain.await } else { None };
                (given, plain)
            }
            answer = &mut plain => (asking.await.0, answer),
        }
    }

    /// The last answer, if one came.
    async fn ask_without_edns(&self, ask: &DnsAsk) -> Option<DnsAnswer> {
        let asked = std::time::Instant::now();
        let plain = DnsAsk { max_payload: 0, wait: self.within(WAIT), ..ask.clone() };
        let answers = dns::query_with_fallback(&plain).await;
        for answer in &answers {
            self.rec.note(asked, answer.clone());
        }
        match answers.into_iter().last()?.outcome {
            DnsOutcome::Answer(answer) => Some(answer),
            _ => None,
        }
    }
}
