//! Dependencies point down only, and siblings do not know each other.

/// Which of the workspace's crates each may depend on. Development dependencies are free: a test may
/// use the world.
const ARROWS: [(&str, &[&str]); 9] = [
    ("contract", &[]),
    ("sim", &["contract"]),
    ("storage", &["contract"]),
    ("protocols", &["contract"]),
    ("checker", &["contract"]),
    ("node", &["contract", "storage"]),
    ("testbed", &["contract", "sim", "storage", "protocols", "node", "checker"]),
    ("cli", &["testbed"]),
    ("xtask", &["contract", "sim", "storage", "protocols", "node", "checker", "testbed"]),
];

pub(crate) fn check(name: &str, manifest: &str) -> Vec<String> {
    let Ok(manifest) = manifest.parse::<toml::Table>() else {
        return vec![format!("{name}/Cargo.toml is not TOML")];
    };
    let (_, allowed) = ARROWS.iter().find(|(from, _)| *from == name).expect("every crate has its arrows");
    let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
    dependencies
        .into_iter()
        .flat_map(toml::Table::keys)
        .filter(|dependency| ARROWS.iter().any(|(known, _)| known == dependency))
        .filter(|dependency| !allowed.contains(&dependency.as_str()))
        .map(|dependency| format!("{name}/Cargo.toml: `{name}` must not depend on `{dependency}`"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrow_that_points_up_or_sideways_is_found() {
        let manifest = "[dependencies]\ncontract.workspace = true\nsim.workspace = true\nserde = \"1\"";
        assert_eq!(
            check("protocols", manifest),
            ["protocols/Cargo.toml: `protocols` must not depend on `sim`"]
        );
        assert_eq!(check("node", manifest), ["node/Cargo.toml: `node` must not depend on `sim`"]);
        assert_eq!(check("testbed", manifest), [""; 0]);
    }

    #[test]
    fn tests_may_use_the_world() {
        assert_eq!(check("storage", "[dev-dependencies]\nsim.workspace = true"), [""; 0]);
    }
}
