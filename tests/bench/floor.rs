//! The floor: the least that any program of this kind must do, by the same client, in a process of its own.
//!
//! A persistent watch; at its event a read; then a durable install: write beside the target, sync, rename, sync the folder.
//! One thread, nothing resolved, rendered, compared or remembered.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use zookeeper_client as zk;

/// Runs until it is killed; prints one line once it is ready.
pub fn run(connect: &str, root: &str, file: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = zk::Client::connect(connect).await.unwrap();
        let mut watcher = client.watch(root, zk::AddWatchMode::PersistentRecursive).await.unwrap();
        println!("ready");
        loop {
            let event = watcher.changed().await;
            let (bytes, _) = client.get_data(&event.path).await.unwrap();
            install(file, &bytes);
        }
    });
}

fn install(path: &Path, bytes: &[u8]) {
    let draft = path.with_extension("draft");
    let mut file = File::create(&draft).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
    fs::rename(&draft, path).unwrap();
    File::open(path.parent().unwrap()).unwrap().sync_all().unwrap();
}
