//! Every scenario file can be read, and names only what is registered.

use testbed::scenario::Scenario;

pub(crate) fn check(path: &str, text: &str) -> Vec<String> {
    match Scenario::parse_all(path, text, &[]) {
        Ok(_) => Vec::new(),
        Err(error) => vec![error.to_string()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_that_names_something_unregistered_is_found() {
        let text = "name = \"x\"\n[cluster]\nprotocol = \"rafft\"\n";
        let complaints = check("scenarios/x.toml", text);
        assert!(complaints.concat().contains("rafft"), "{complaints:?}");
    }
}
