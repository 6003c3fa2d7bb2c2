//! Network namespaces of a test's own, with devices that may come and go.

use crate::bundle::Bundle;
use crate::command::{Cmd, Running};
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use serde_json::{Value, json};

/// A network namespace, held by a process.
pub struct Net<'a> {
    /// The test's surroundings.
    pub ctx: &'a Ctx,
    /// Who keeps it.
    pub holder: Running,
}

impl<'a> Net<'a> {
    /// An empty one.
    pub fn empty(ctx: &'a Ctx) -> Outcome<Net<'a>> {
        for tool in ["/sbin/ip", "/usr/bin/nsenter", "/usr/bin/unshare"] {
            if !std::path::Path::new(tool).exists() {
                return skip(format!("{tool} is not installed"));
            }
        }
        let holder = ctx.host(&["unshare", "--net", "sleep", "1000"]).spawn()?;
        let path = format!("/proc/{}/ns/net", holder.pid());
        let own = std::fs::read_link("/proc/thread-self/ns/net")?;
        ctx.until("the namespace is there", || {
            std::fs::read_link(&path).is_ok_and(|link| link != own)
        })?;
        Ok(Net { ctx, holder })
    }

    /// One with the veth pair `va` (up, with addresses of several kinds) and `vb` (up).
    pub fn new(ctx: &'a Ctx) -> Outcome<Net<'a>> {
        let net = Net::empty(ctx)?;
        net.make_pair()?;
        Ok(net)
    }

    /// Makes that pair.
    pub fn make_pair(&self) -> Outcome {
        let made = self
            .cmd(&[
                "ip", "link", "add", "va", "type", "veth", "peer", "name", "vb",
            ])
            .run()?;
        if made.code != 0 {
            return skip(format!("no veth devices here: {}", made.stderr.trim()));
        }
        for line in [
            "addr add 10.9.8.7/24 brd + dev va",
            "addr add 10.9.8.8/24 dev va label va:x",
            "addr add 10.9.9.1 peer 10.9.9.2 dev va",
            "addr add 10.9.7.1/24 dev va valid_lft 1000 preferred_lft 1000",
            "addr add 169.254.9.9/16 scope link dev va",
            "addr add fd00:9::7/64 dev va nodad",
            "link set va mtu 1400",
            "link set va up",
            "link set vb up",
        ] {
            self.ip(line)?;
        }
        Ok(())
    }

    /// `ip LINE` in it, which must succeed; what it says.
    pub fn ip(&self, line: &str) -> Outcome<String> {
        let mut words = vec!["ip"];
        words.extend(line.split(' '));
        Ok(self.cmd(&words).run()?.ok()?.stdout)
    }

    /// A program of the host, in it.
    pub fn cmd<S: AsRef<str>>(&self, words: &[S]) -> Cmd<'a> {
        self.ctx.host(words).within(&self.enter())
    }

    /// Its file.
    pub fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.pid())
    }

    /// The command in front of one that is to run in it.
    pub fn enter(&self) -> [String; 2] {
        ["nsenter".to_owned(), format!("--net={}", self.path())]
    }

    /// What is to be kept of a device.
    pub fn device(&self, name: &str) -> Outcome<Value> {
        device(self.ctx, &self.enter(), name)
    }

    /// The names of its devices.
    pub fn names(&self) -> Outcome<Vec<String>> {
        let list: Vec<Value> = serde_json::from_str(&self.ip("-j link")?)?;
        let name = |link: &Value| link["ifname"].as_str().unwrap_or_default().to_owned();
        Ok(list.iter().map(name).collect())
    }

    /// `create` in it.
    pub fn create(&self, b: &Bundle<'a>) -> Outcome<Cmd<'a>> {
        Ok(b.verb::<&str>("create", &[])?.within(&self.enter()))
    }
}

impl Drop for Net<'_> {
    fn drop(&mut self) {
        let _ = self.holder.child.kill();
        let _ = self.holder.child.wait();
    }
}

/// A device as `ip` shows it, without what belongs to its namespace or changes by itself.
pub fn device(ctx: &Ctx, enter: &[String], name: &str) -> Outcome<Value> {
    let output = ctx
        .host(&["ip", "-j", "-d", "addr", "show", "dev", name])
        .within(enter)
        .run()?
        .ok()?;
    let list: Vec<Value> = serde_json::from_str(&output.stdout)?;
    let found = list
        .iter()
        .find(|link| link["ifname"] == name)
        .because(name)?;
    let mut addresses: Vec<Value> = found["addr_info"].as_array().cloned().unwrap_or_default();
    for address in &mut addresses {
        let object = address.as_object_mut().because("an address")?;
        for member in [
            "tentative",
            "valid_life_time",
            "preferred_life_time",
            "dynamic",
        ] {
            object.remove(member);
        }
    }
    // Not moved, or made again by the kernel.
    addresses.retain(|a| a["scope"] == "global" && a["local"] != "10.9.7.1");
    let up = found["flags"]
        .as_array()
        .is_some_and(|flags| flags.iter().any(|flag| flag == "UP"));
    Ok(json!({
        "mtu": found["mtu"], "address": found["address"], "up": up, "addresses": addresses,
    }))
}
