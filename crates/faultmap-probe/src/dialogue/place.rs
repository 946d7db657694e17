//! What follows the host in the URL of a service: a database or virtual host, and parameters after `?`. Never a secret's home.

use percent_encoding::percent_decode_str;

fn plain(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The database or virtual host; `None` when the URL names none.
pub(super) fn database(path: &str) -> Option<String> {
    let name = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    (!name.is_empty()).then(|| plain(name))
}

/// The value of a parameter, by any of its spellings (`ssl-mode`, `sslMode`, `ssl_mode`).
pub(super) fn parameter(path: &str, name: &str) -> Option<String> {
    let same = |given: &str| {
        let bare = |text: &str| text.chars().filter(|c| !matches!(c, '-' | '_')).collect::<String>().to_ascii_lowercase();
        bare(given) == bare(name)
    };
    let query = path.split_once('?')?.1.split('#').next()?;
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(given, _)| same(given)).map(|(_, value)| plain(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_database_and_parameters() {
        assert_eq!(database("shop?sslmode=require"), Some("shop".to_owned()));
        assert_eq!(database("my%2Fvhost"), Some("my/vhost".to_owned()));
        assert_eq!(database("?sslmode=require"), None);
        assert_eq!(parameter("shop?a=1&sslmode=verify-full", "sslmode"), Some("verify-full".to_owned()));
        assert_eq!(parameter("?sslMode=REQUIRED", "ssl-mode"), Some("REQUIRED".to_owned()));
        assert_eq!(parameter("shop", "sslmode"), None);
    }
}
