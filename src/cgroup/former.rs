//! What has to be written to a cgroup's file so that it says again what it said.

/// The value that undoes the writing of `written` to `file`, which said `former` before; `None`
/// if there is none. Files with a line for each device are undone for the one device.
pub(super) fn way_back(file: &str, written: &str, former: &str) -> Option<String> {
    let mut lines = former.lines();
    let first = lines.next().unwrap_or_default();
    let single = lines.next().is_none();
    let last_word = |line: &str| Some(line.rsplit(' ').next()?.to_owned());
    // memory.oom_control of v1 is read with more lines than it is written with, a weight
    // perhaps with the word "default" and with lines for devices.
    if file == "memory.oom_control" || is_weight(file) && !written.contains(' ') {
        return last_word(first);
    }
    if let Some((key, _)) = written.split_once(' ').filter(|_| has_keys(file)) {
        let of_key = |line: &&str| line.split(' ').next() == Some(key);
        let known = former.lines().find(of_key).map(str::to_owned);
        return known.or_else(|| Some(format!("{key} {}", unset(file)?)));
    }
    match (single, first) {
        (false, _) => None,
        // write(2) of nothing would do nothing.
        (true, "") => Some("\n".to_owned()),
        (true, value) => Some(value.to_owned()),
    }
}

fn is_weight(file: &str) -> bool {
    matches!(
        file,
        "io.weight" | "io.bfq.weight" | "blkio.bfq.weight" | "blkio.weight"
    )
}

/// Whether each line of the file begins with what it is about.
fn has_keys(file: &str) -> bool {
    let controllers = ["blkio.", "io.", "net_prio.", "rdma.", "misc."];
    controllers.iter().any(|prefix| file.starts_with(prefix))
}

/// What stands for a device that has no line.
fn unset(file: &str) -> Option<&'static str> {
    match file {
        "io.max" => Some("rbps=max wbps=max riops=max wiops=max"),
        "io.weight" => Some("default"),
        "io.bfq.weight" => Some("0"),
        _ if file.starts_with("blkio.") => Some("0"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::way_back;

    #[test]
    fn every_kind_of_file_has_its_way_back() {
        for (file, written, former, expected) in [
            ("memory.max", "4096", "max\n", Some("max")),
            (
                "cpu.max",
                "50000 100000",
                "max 100000\n",
                Some("max 100000"),
            ),
            ("cpuset.cpus", "0", "\n", Some("\n")),
            (
                "memory.oom_control",
                "1",
                "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
                Some("0"),
            ),
            ("io.weight", "500", "default 100\n8:0 200\n", Some("100")),
            (
                "io.weight",
                "8:0 500",
                "default 100\n8:0 200\n",
                Some("8:0 200"),
            ),
            (
                "io.weight",
                "8:16 500",
                "default 100\n",
                Some("8:16 default"),
            ),
            ("blkio.bfq.weight", "500", "100\n", Some("100")),
            (
                "blkio.throttle.read_bps_device",
                "8:0 1",
                "8:0 9\n8:16 7\n",
                Some("8:0 9"),
            ),
            ("blkio.throttle.read_bps_device", "8:0 1", "", Some("8:0 0")),
            (
                "io.max",
                "8:0 rbps=1",
                "8:0 rbps=2 wbps=max riops=max wiops=max\n",
                Some("8:0 rbps=2 wbps=max riops=max wiops=max"),
            ),
            (
                "io.max",
                "8:0 rbps=1",
                "",
                Some("8:0 rbps=max wbps=max riops=max wiops=max"),
            ),
            (
                "rdma.max",
                "mlx5_0 hca_handle=1",
                "mlx5_0 hca_handle=max hca_object=max\n",
                Some("mlx5_0 hca_handle=max hca_object=max"),
            ),
            (
                "net_prio.ifpriomap",
                "eth0 5",
                "lo 0\neth0 0\n",
                Some("eth0 0"),
            ),
            // Nobody knows what a file of many lines takes.
            ("memory.numa_stat", "1", "a 1\nb 2\n", None),
        ] {
            let found = way_back(file, written, former);
            assert_eq!(found.as_deref(), expected, "{file} {written}");
        }
    }
}
