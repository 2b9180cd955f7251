//! Where a container listens, as far as its manifest shows.

use super::document::Node;

/// What words of its command, arguments and variables say.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Listens {
    OnLoopback,
    /// And the word that says so.
    Everywhere(String),
    Unknown,
}

/// Programs are told where to listen as `--host 0.0.0.0`, `-b 0.0.0.0:8000`, `HOST=::` and the like.
pub(super) fn where_it_listens(container: &Node) -> Listens {
    let words = ["command", "args"].into_iter().flat_map(|list| container.items(&[list])).filter_map(Node::as_str);
    let variables =
        container.items(&["env"]).iter().filter(|one| one.str_at(&["name"]).is_some_and(is_about_listening));
    let variables = variables.filter_map(|one| one.str_at(&["value"]));
    let words: Vec<_> = words.chain(variables).flat_map(str::split_whitespace).collect();
    if let Some(word) = words.iter().find(|word| pieces(word).any(is_everywhere)) {
        return Listens::Everywhere((*word).to_owned());
    }
    if words.iter().any(|word| pieces(word).any(is_loopback)) { Listens::OnLoopback } else { Listens::Unknown }
}

fn is_about_listening(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["HOST", "BIND", "LISTEN", "ADDR", "IP"].iter().any(|word| name.contains(word))
}

/// `--bind=0.0.0.0:80,[::]:80` has three.
fn pieces(word: &str) -> impl Iterator<Item = &str> {
    word.split(['=', ',', ';', '/', '"', '\'']).filter(|piece| !piece.is_empty())
}

fn is_everywhere(piece: &str) -> bool {
    let host = host_of(piece);
    matches!(host, "0.0.0.0" | "[::]" | "::" | "*")
}

fn is_loopback(piece: &str) -> bool {
    let host = host_of(piece);
    matches!(host, "localhost" | "[::1]" | "::1") || host.starts_with("127.")
}

/// Without its port.
fn host_of(piece: &str) -> &str {
    let piece = piece.trim_start_matches("-b");
    match piece.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && host != ":" && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => piece,
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::Documents;
    use super::*;

    #[test]
    fn an_address_is_found_in_words_and_variables() {
        let everywhere = |word: &str| Listens::Everywhere(word.to_owned());
        for (yaml, expected) in [
            ("args: [--host, 0.0.0.0]", everywhere("0.0.0.0")),
            ("args: ['--listen=[::]:8080']", everywhere("--listen=[::]:8080")),
            ("command: [gunicorn, -b, '0.0.0.0:8000', app]", everywhere("0.0.0.0:8000")),
            ("command: [sh, -c, 'exec app --bind 0.0.0.0:80']", everywhere("0.0.0.0:80")),
            ("env: [{name: HOST, value: '::'}]", everywhere("::")),
            ("args: ['--urls=http://*:5000']", everywhere("--urls=http://*:5000")),
            ("args: [--host=127.0.0.1]", Listens::OnLoopback),
            ("args: ['http://localhost:5000']", Listens::OnLoopback),
            ("env: [{name: BIND_ADDRESS, value: '127.0.0.1:3000'}]", Listens::OnLoopback),
            ("args: ['[::1]:80']", Listens::OnLoopback),
            ("env: [{name: DATABASE, value: '127.0.0.1:5432'}]", Listens::Unknown),
            ("args: [--verbose, 'a:b', '1.2.3.4:80']", Listens::Unknown),
            ("image: app", Listens::Unknown),
        ] {
            let documents = Documents::parse(yaml).unwrap();
            assert_eq!(where_it_listens(&documents.all[0]), expected, "{yaml}");
        }
    }
}
