//! Causes of layer 7, application: names and HTTP.

pub(in crate::causes) mod answer;
pub(in crate::causes) mod auth_failed;
pub(in crate::causes) mod backend_intermittent;
mod captive_portal;
pub(in crate::causes) mod clients;
mod database_missing;
mod dns_disagreement;
mod dns_edns;
mod dns_failing;
mod dns_hosts_override;
mod dns_lame;
mod dns_missing;
mod dns_search;
mod dns_slow;
mod dns_tcp_blocked;
mod dns_timeout;
mod dns_trace;
mod dns_ttl_zero;
mod grpc;
mod http_client_status;
mod http_server_status;
mod http_status;
mod lookup;
mod malformed;
mod not_cacheable;
mod protocol_mismatch;
mod redirect_loop;
pub(in crate::causes) mod refusal;
mod service_error;
mod service_mute;
mod service_read_only;
mod service_slow;
mod service_starting;
pub(in crate::causes) mod speech;
mod too_many_connections;
mod unexpected_answer;
mod websocket;

pub use refusal::cause_of_refusal;

use super::Cause;

/// In the order of `faultmap causes`.
pub static CAUSES: &[&Cause] = &[
    &dns_missing::NXDOMAIN,
    &dns_missing::NO_ADDRESS,
    &dns_failing::SERVFAIL,
    &dns_failing::REFUSED,
    &dns_timeout::CAUSE,
    &dns_slow::CAUSE,
    &dns_ttl_zero::CAUSE,
    &dns_lame::CAUSE,
    &dns_failing::DNSSEC_BOGUS,
    &dns_disagreement::CAUSE,
    &dns_hosts_override::CAUSE,
    &dns_tcp_blocked::CAUSE,
    &http_client_status::CLIENT_ERROR,
    &http_client_status::BAD_REQUEST,
    &http_client_status::UNAUTHORIZED,
    &http_client_status::FORBIDDEN,
    &http_client_status::NOT_FOUND,
    &http_client_status::METHOD_NOT_ALLOWED,
    &http_client_status::UNSUPPORTED_MEDIA_TYPE,
    &http_client_status::RATE_LIMITED,
    &http_client_status::HEADER_TOO_LARGE,
    &http_server_status::SERVER_ERROR,
    &http_server_status::BAD_GATEWAY,
    &http_server_status::UNAVAILABLE,
    &http_server_status::GATEWAY_TIMEOUT,
    &unexpected_answer::CAUSE,
    &redirect_loop::CAUSE,
    &malformed::CAUSE,
    &backend_intermittent::CAUSE,
    &service_mute::CAUSE,
    &service_slow::CAUSE,
    &captive_portal::CAUSE,
    &grpc::NOT_SERVING,
    &grpc::UNIMPLEMENTED,
    &grpc::ERROR,
    &websocket::CAUSE,
    &auth_failed::CAUSE,
    &database_missing::CAUSE,
    &too_many_connections::CAUSE,
    &service_starting::CAUSE,
    &service_read_only::CAUSE,
    &service_error::CAUSE,
    &protocol_mismatch::CAUSE,
    &not_cacheable::CAUSE,
];

/// The hosts file or a resolver led to an address that is not the service: what is seen there is a consequence.
pub(in crate::causes) fn misled_by_names(ev: &crate::Evidence<'_>) -> bool {
    [&dns_hosts_override::CAUSE, &dns_disagreement::CAUSE]
        .into_iter()
        .any(|cause| (cause.claim)(ev).is_some_and(|claim| matches!(claim.standing, super::Standing::Proven(_))))
}

/// DNS says that the name, or an address for it, does not exist: the observations that say so.
pub(in crate::causes) fn name_missing(ev: &crate::Evidence<'_>) -> Option<Vec<crate::ObservationId>> {
    let claims = [&dns_missing::NXDOMAIN, &dns_missing::NO_ADDRESS].into_iter().filter_map(|cause| (cause.claim)(ev));
    claims.map(|claim| claim.because).next()
}
