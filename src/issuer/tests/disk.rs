//! Keys that an earlier life of the writer left on disk.

use super::*;

/// Removed when dropped.
struct Scratch(std::path::PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[tokio::test]
async fn who_waits_for_the_first_keys_gets_the_kept_ones_while_the_first_fetch_hangs() {
    let path = std::env::temp_dir().join(format!("claimgate-test-{:016x}", fastrand::u64(..)));
    std::fs::create_dir(&path).unwrap();
    let dir = Scratch(path);
    let origin = Origin::start().await;
    origin.publish(&["a"]);
    let cache_dir = Some(CacheDir::open(dir.0.to_str().unwrap()).unwrap());
    let settings = Settings { cache_dir, timeout: Duration::from_hours(1), ..origin.settings() };
    let (_issuer, _readiness, first_life) = run(settings.clone());
    let is_kept = || {
        let mut names = std::fs::read_dir(&dir.0).unwrap().map(|entry| entry.unwrap().file_name());
        names.any(|name| name.to_string_lossy().ends_with("json"))
    };
    while !is_kept() {
        tokio::task::yield_now().await;
    }
    drop(first_life);

    origin.gate.forget_permits(usize::MAX);
    let (issuer, refresher) = Issuer::new(settings, Clock::system()).unwrap();
    let waiting = {
        let issuer = Arc::clone(&issuer);
        tokio::spawn(async move { issuer.key(&header(Some("a"))).await })
    };
    while issuer.waiting_room.available_permits() == Settings::WAITING_PER_WORKER {
        tokio::task::yield_now().await;
    }
    let _running = tokio::spawn(refresher.run(Readiness::new().latch()));
    let served = timeout(Duration::from_secs(10), waiting).await.expect("keys before the fetch ends");
    assert!(served.unwrap().is_ok());
    assert_eq!(issuer.progress.borrow().finished, 0);
    let status = issuer.status();
    assert!(status.restored && status.generation == 1 && status.report.successes == 0, "{status:?}");
}
