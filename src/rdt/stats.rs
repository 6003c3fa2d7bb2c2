//! What the resctrl file system tells of a container's class of service (resctrl.rst), with
//! runc's names.

use std::fs;

use serde::Serialize;

use super::Record;

/// The member `intel_rdt` of `events`.
#[derive(Debug, Default, Serialize)]
pub struct Stats {
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_info: Option<CacheInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    l3_cache_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    l3_cache_schema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_info: Option<BandwidthInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    mem_bw_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    mem_bw_schema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mbm_stats: Option<Vec<Bandwidth>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmt_stats: Option<Vec<Occupancy>>,
}

#[derive(Debug, Serialize)]
struct CacheInfo {
    #[serde(skip_serializing_if = "String::is_empty")]
    cbm_mask: String,
    #[serde(skip_serializing_if = "is_zero")]
    min_cbm_bits: u64,
    #[serde(skip_serializing_if = "is_zero")]
    num_closids: u64,
}

#[derive(Debug, Serialize)]
struct BandwidthInfo {
    #[serde(skip_serializing_if = "is_zero")]
    bandwidth_gran: u64,
    #[serde(skip_serializing_if = "is_zero")]
    delay_linear: u64,
    #[serde(skip_serializing_if = "is_zero")]
    min_bandwidth: u64,
    #[serde(skip_serializing_if = "is_zero")]
    num_closids: u64,
}

/// Bytes that one cache has moved.
#[derive(Debug, Serialize)]
struct Bandwidth {
    mbm_total_bytes: u64,
    mbm_local_bytes: u64,
}

/// Bytes in one cache.
#[derive(Debug, Serialize)]
struct Occupancy {
    llc_occupancy: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Record {
    /// Reads what there is; what the processor does not have is left out.
    pub fn stats(&self) -> Stats {
        let root = self.root.as_str();
        let (own, all) = (
            text(&format!("{}/schemata", self.group)),
            text(&format!("{root}/schemata")),
        );
        let mut stats = Stats::default();
        if let Some(mask) = text(&format!("{root}/info/L3/cbm_mask")) {
            stats.l3_cache_info = Some(CacheInfo {
                cbm_mask: mask.trim().to_owned(),
                min_cbm_bits: number(&format!("{root}/info/L3/min_cbm_bits")),
                num_closids: number(&format!("{root}/info/L3/num_closids")),
            });
            stats.l3_cache_schema_root = line(all.as_deref(), "L3");
            stats.l3_cache_schema = line(own.as_deref(), "L3");
        }
        if text(&format!("{root}/info/MB/num_closids")).is_some() {
            stats.mem_bw_info = Some(BandwidthInfo {
                bandwidth_gran: number(&format!("{root}/info/MB/bandwidth_gran")),
                delay_linear: number(&format!("{root}/info/MB/delay_linear")),
                min_bandwidth: number(&format!("{root}/info/MB/min_bandwidth")),
                num_closids: number(&format!("{root}/info/MB/num_closids")),
            });
            stats.mem_bw_schema_root = line(all.as_deref(), "MB");
            stats.mem_bw_schema = line(own.as_deref(), "MB");
        }
        self.monitored(&mut stats);
        stats
    }

    /// The counters of the monitoring group, or of the class itself.
    fn monitored(&self, stats: &mut Stats) {
        let features = format!("{}/info/L3_MON/mon_features", self.root);
        let Some(features) = text(&features) else {
            return;
        };
        let has = |feature: &str| features.lines().any(|line| line == feature);
        let group = self.monitor.as_ref().unwrap_or(&self.group);
        let caches = fs::read_dir(format!("{group}/mon_data"));
        let mut caches: Vec<_> = caches
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        caches.sort();
        let count =
            |cache: &std::path::Path, name: &str| number(&cache.join(name).to_string_lossy());
        if has("mbm_total_bytes") || has("mbm_local_bytes") {
            let bandwidth = |cache: &std::path::PathBuf| Bandwidth {
                mbm_total_bytes: count(cache, "mbm_total_bytes"),
                mbm_local_bytes: count(cache, "mbm_local_bytes"),
            };
            stats.mbm_stats = Some(caches.iter().map(bandwidth).collect());
        }
        if has("llc_occupancy") {
            let occupancy = |cache: &std::path::PathBuf| Occupancy {
                llc_occupancy: count(cache, "llc_occupancy"),
            };
            stats.cmt_stats = Some(caches.iter().map(occupancy).collect());
        }
    }
}

#[inline(never)]
fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// 0 also for `Unavailable` and `Error`.
#[inline(never)]
fn number(path: &str) -> u64 {
    text(path)
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or_default()
}

/// The line of a resource in a `schemata`.
#[inline(never)]
fn line(schemata: Option<&str>, resource: &str) -> String {
    let mut lines = schemata.unwrap_or_default().lines().map(str::trim);
    let found = lines.find(|line| line.split(':').next() == Some(resource));
    found.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::Record;

    #[test]
    fn what_the_processor_has_is_told_with_runcs_names() {
        let root = std::env::temp_dir().join(format!("corten-rdt-stats-{}", std::process::id()));
        let shown = || {
            let record = Record {
                root: root.display().to_string(),
                group: root.join("gold").display().to_string(),
                makes_group: false,
                named: true,
                monitor: Some(root.join("gold/mon_groups/c1").display().to_string()),
            };
            serde_json::to_string(&record.stats()).unwrap()
        };
        assert_eq!(shown(), "{}");
        for (path, text) in [
            ("info/L3/cbm_mask", "7ff\n"),
            ("info/L3/min_cbm_bits", "1\n"),
            ("info/L3/num_closids", "16\n"),
            ("schemata", "    L3:0=7ff;1=7ff\n    MB:0=100;1=100\n"),
            ("gold/schemata", "    L3:0=00f;1=7ff\n    MB:0= 20;1=100\n"),
            ("info/MB/num_closids", "8\n"),
            ("info/MB/min_bandwidth", "10\n"),
            ("info/MB/bandwidth_gran", "10\n"),
            ("info/MB/delay_linear", "1\n"),
            (
                "info/L3_MON/mon_features",
                "llc_occupancy\nmbm_total_bytes\n",
            ),
            (
                "gold/mon_groups/c1/mon_data/mon_L3_00/llc_occupancy",
                "4096\n",
            ),
            (
                "gold/mon_groups/c1/mon_data/mon_L3_00/mbm_total_bytes",
                "7\n",
            ),
            (
                "gold/mon_groups/c1/mon_data/mon_L3_01/mbm_total_bytes",
                "Unavailable\n",
            ),
        ] {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let found = shown();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(
            found,
            concat!(
                r#"{"l3_cache_info":{"cbm_mask":"7ff","min_cbm_bits":1,"num_closids":16},"#,
                r#""l3_cache_schema_root":"L3:0=7ff;1=7ff","l3_cache_schema":"L3:0=00f;1=7ff","#,
                r#""mem_bw_info":{"bandwidth_gran":10,"delay_linear":1,"min_bandwidth":10,"num_closids":8},"#,
                r#""mem_bw_schema_root":"MB:0=100;1=100","mem_bw_schema":"MB:0= 20;1=100","#,
                r#""mbm_stats":[{"mbm_total_bytes":7,"mbm_local_bytes":0},{"mbm_total_bytes":0,"mbm_local_bytes":0}],"#,
                r#""cmt_stats":[{"llc_occupancy":4096},{"llc_occupancy":0}]}"#
            )
        );
    }
}
