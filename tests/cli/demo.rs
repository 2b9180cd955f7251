//! `claimgate demo`: each line that it prints does what its comment says.

use crate::support::{Binary, client, eventually};

/// A printed command with its comment.
struct Line {
    comment: String,
    command: String,
}

#[tokio::test]
async fn each_printed_curl_line_does_what_its_comment_says() {
    let demo = Binary::spawn(&["demo"], &[]);
    eventually("it has said everything", async || {
        demo.stdout().iter().any(|line| line.contains("goes on") || line.contains("go on"))
    })
    .await;
    let lines = lines(&demo.stdout());
    assert!(lines.len() >= 4, "{:#?}", demo.stdout());
    let mut statuses = Vec::new();
    for line in lines {
        let response = curl(&line.command).await;
        let promised: u16 = line.comment.split([' ', ',', ':']).find_map(|word| word.parse().ok()).unwrap();
        assert_eq!(response.status, promised, "{}: {response:?}", line.comment);
        if let Some(words) = line.comment.split('"').nth(1) {
            assert!(response.text().contains(words), "{}: {}", line.comment, response.text());
        }
        assert!(!response.text().contains("hello mallory"), "{}: {}", line.comment, response.text());
        statuses.push(response.status);
    }
    assert!(statuses.contains(&200) && statuses.contains(&401), "{statuses:?}");
    demo.signal("INT");
    assert_eq!(demo.wait().await.code, Some(0));
}

fn lines(stdout: &[String]) -> Vec<Line> {
    let pairs = stdout.windows(2).filter(|pair| pair[0].starts_with("# ") && pair[1].starts_with("curl "));
    pairs.map(|pair| Line { comment: pair[0][2..].to_owned(), command: pair[1].clone() }).collect()
}

/// What curl would do: `-H` fields, `$(curl -s …)` replaced by what it prints, and a URL at the end.
async fn curl(command: &str) -> client::Response {
    let mut command = command.to_owned();
    while let Some(start) = command.find("$(curl -s ") {
        let end = start + command[start..].find(')').unwrap();
        let inner = command[start + "$(curl -s ".len()..end].trim_matches('\'').to_owned();
        let printed = fetch(&inner, "").await.text();
        command.replace_range(start..=end, printed.trim());
    }
    let fields = command.split("-H \"").skip(1).map(|rest| format!("{}\r\n", rest.split('"').next().unwrap()));
    let url = command.rsplit(' ').next().unwrap().to_owned();
    fetch(&url, &fields.collect::<Vec<_>>().concat()).await
}

async fn fetch(url: &str, fields: &str) -> client::Response {
    let url = url::Url::parse(url).unwrap();
    let addr = url.socket_addrs(|| None).unwrap()[0];
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    client::exchange(addr, client::request("GET", &format!("{}{query}", url.path()), None, fields)).await
}
