//! `weir demo` as a newcomer runs it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// Its folder for temporary files is `folder`.
fn demo(folder: &Path, seconds: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["demo", "--seconds", seconds])
        .env("TMPDIR", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn it_sums_up_and_the_vendor_never_said_429() {
    let folder = tempfile::tempdir().unwrap();
    let ended = demo(folder.path(), "6").wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{printed}{}", String::from_utf8_lossy(&ended.stderr));
    assert!(printed.contains("vendor 429s          0\n"), "{printed}");
    let sent = printed.lines().find_map(|line| line.strip_prefix("sent to the vendor   ")).unwrap();
    assert!(sent.parse::<u32>().unwrap() > 0, "{printed}");
    assert!(is_empty(folder.path()));
}

#[test]
fn who_has_seen_enough_gets_the_summary_and_nothing_is_left_behind() {
    for signal in [Signal::INT, Signal::TERM] {
        let folder = tempfile::tempdir().unwrap();
        let mut process = demo(folder.path(), "300");
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut first = String::new();
        out.read_line(&mut first).unwrap();
        assert!(first.contains("http://") && !is_empty(folder.path()), "{first}");
        kill_process(Pid::from_child(&process), signal).unwrap();
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        let status = process.wait().unwrap();
        assert!(status.success() && rest.contains("vendor 429s          0\n"), "{status}: {rest}");
        assert!(is_empty(folder.path()));
    }
}
