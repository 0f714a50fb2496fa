use serde::Deserialize;

use super::*;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Tier {
    relay: RelaySettings,
    log: LogSettings,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RelaySettings {
    poll_interval_ms: u64,
    lanes: u8,
    ratio: f64,
    eager: bool,
    name: String,
    nick: Option<String>,
    ports: Vec<u16>,
    format: Format,
    retry: Retry,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Retry {
    attempts: u32,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LogSettings {
    url: Option<SecretUrl>,
    password: Secret,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Stores {
    search: StoreSettings,
    vectors: StoreSettings,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StoreSettings {
    url: Option<SecretUrl>,
}

impl Check for Stores {
    fn check(&self) -> Result<(), Rule> {
        Ok(())
    }
}

impl Default for RelaySettings {
    fn default() -> Self {
        RelaySettings {
            poll_interval_ms: 200,
            lanes: 4,
            ratio: 1.0,
            eager: false,
            name: "relay".to_owned(),
            nick: None,
            ports: Vec::new(),
            format: Format::Text,
            retry: Retry { attempts: 3 },
        }
    }
}

impl Check for Tier {
    fn check(&self) -> Result<(), Rule> {
        section("relay", &self.relay)?;
        section("log", &self.log)
    }
}

impl Check for RelaySettings {
    fn check(&self) -> Result<(), Rule> {
        at_least("poll_interval_ms", self.poll_interval_ms, 1)?;
        between("ratio", self.ratio, 0.0, 1.0)
    }
}

impl Check for LogSettings {
    fn check(&self) -> Result<(), Rule> {
        if self.password.expose() == "letmein" {
            return Err(Rule::new("password", "must not be the first one that comes to mind"));
        }
        Ok(())
    }
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn from_environment(pairs: &[(&str, &str)]) -> Result<Tier, SettingsError> {
    load_from(None, variables(pairs))
}

/// Settings from a file with `text`. Its path is `kontor.toml` in the error's text, whatever it was.
fn from_file(text: &str, pairs: &[(&str, &str)]) -> Result<Tier, String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("kontor.toml");
    std::fs::write(&path, text).expect("a file can be written");
    let here = format!("{}/", directory.path().display());
    load_from(Some(&path), variables(pairs)).map_err(|error| error.to_string().replace(&here, ""))
}

#[test]
fn without_file_and_variables_the_defaults_hold() {
    assert_eq!(from_environment(&[]).expect("defaults are allowed"), Tier::default());
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let file = "[relay]\npoll_interval_ms = 5\nlanes = 2\nretry.attempts = 8\n";
    let tier = from_file(file, &[("KONTOR_RELAY__LANES", "7")]).expect("all is known");
    assert_eq!((tier.relay.poll_interval_ms, tier.relay.lanes, tier.relay.retry.attempts), (5, 7, 8));
    assert_eq!(tier.relay.name, "relay");
}

#[test]
fn kontor_config_names_the_file_unless_the_command_line_does() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (named, given) = (directory.path().join("named.toml"), directory.path().join("given.toml"));
    std::fs::write(&named, "relay.lanes = 1").expect("a file can be written");
    std::fs::write(&given, "relay.lanes = 2").expect("a file can be written");
    let environment = [(OsString::from("KONTOR_CONFIG"), named.into_os_string())];
    assert_eq!(load_from::<Tier>(None, environment.clone()).expect("is read").relay.lanes, 1);
    assert_eq!(load_from::<Tier>(Some(&given), environment).expect("is read").relay.lanes, 2);
}

#[test]
fn a_variable_is_read_as_what_its_field_is() {
    let relay = |name: &str, value: &str| {
        from_environment(&[(&format!("KONTOR_RELAY__{name}"), value)]).expect("is allowed").relay
    };
    assert_eq!(relay("POLL_INTERVAL_MS", "18446744073709551615").poll_interval_ms, u64::MAX);
    assert_eq!(relay("RATIO", "0.25").ratio, 0.25);
    assert!(relay("EAGER", "true").eager);
    assert_eq!(relay("NAME", "0042").name, "0042");
    assert_eq!(relay("NAME", "true").name, "true");
    assert_eq!(relay("NICK", "1.0").nick.as_deref(), Some("1.0"));
    assert_eq!(relay("NICK", "").nick, None);
    assert_eq!(relay("PORTS", "80, 443").ports, [80, 443]);
    assert_eq!(relay("FORMAT", "json").format, Format::Json);
    assert_eq!(relay("RETRY__ATTEMPTS", "9").retry.attempts, 9);
}

#[test]
fn what_is_for_others_is_passed_over() {
    let allowed = [
        ("KONTOR_NATS__URL", "nats://localhost"),
        ("KONTOR_PROJECTIONS__ANYTHING", "1"),
        ("KONTOR_SEARCH_URL", "http://localhost"),
        ("KONTOR_TEST_POSTGRES_URL", "postgres://localhost"),
        ("KONTOR_COMMAND_SERVICE_HOST", "10.0.0.7"),
        ("KONTOR_COMMAND_SERVICE_PORT_OPS", "9080"),
        ("KONTOR_COMMAND_PORT", "tcp://10.0.0.7:8080"),
        ("KONTOR_COMMAND_PORT_8080_TCP_ADDR", "10.0.0.7"),
        ("PATH", "/bin"),
    ];
    assert_eq!(from_environment(&allowed).expect("nothing is ours"), Tier::default());
    assert_eq!(from_file("[nats]\nurl = 5\n[query]\nx = 1", &[]).expect("nothing is ours"), Tier::default());
}

#[test]
fn a_variable_with_two_names_is_one_setting_and_the_first_name_wins() {
    let stores = |pairs: &[(&str, &str)]| load_from::<Stores>(None, variables(pairs)).expect("all is known");
    let url = |url: &Option<SecretUrl>| url.as_ref().map(|url| url.expose().to_owned());
    let one = stores(&[("KONTOR_SEARCH_URL", "http://a:1"), ("KONTOR_VECTORS_URL", "http://b:2")]);
    assert_eq!(
        (url(&one.search.url).as_deref(), url(&one.vectors.url).as_deref()),
        (Some("http://a:1"), Some("http://b:2"))
    );
    for pairs in [
        [("KONTOR_SEARCH_URL", "http://a:1"), ("KONTOR_SEARCH__URL", "http://c:3")],
        [("KONTOR_SEARCH__URL", "http://c:3"), ("KONTOR_SEARCH_URL", "http://a:1")],
    ] {
        assert_eq!(url(&stores(&pairs).search.url).as_deref(), Some("http://c:3"));
    }
    let refused = load_from::<Stores>(None, variables(&[("KONTOR_SEARCH_URL", "nowhere")])).expect_err("no URL");
    assert!(refused.to_string().starts_with("search.url (KONTOR_SEARCH__URL) is ***"), "{refused}");
}

#[test]
fn each_refused_variable_is_named_with_its_rule() {
    let cases = [
        (
            ("KONTOR_RELAY__POL_INTERVAL", "5"),
            "KONTOR_RELAY__POL_INTERVAL is no setting: section relay has no pol_interval, only eager, format, lanes, \
             name, nick, poll_interval_ms, ports, ratio, retry",
        ),
        (
            ("KONTOR_RELAY__RETRY__TIMES", "5"),
            "KONTOR_RELAY__RETRY__TIMES is no setting: section relay.retry has no times, only attempts",
        ),
        (
            ("KONTOR_RELAIS__LANES", "5"),
            "KONTOR_RELAIS__LANES is no setting: there is no section relais, only executor, http, identity, live, log, mail, nats, ops, \
             payments, privacy, processes, projections, query, recommendations, redis, relay, replica, search, shop, simulator, stripe, telemetry, vectors",
        ),
        (
            ("KONTOR_RELAY_LANES", "5"),
            "KONTOR_RELAY_LANES is no setting: one is called KONTOR_SECTION__FIELD, with two underscores",
        ),
        (
            ("KONTOR_RELAY__LANES", "256"),
            "relay.lanes (KONTOR_RELAY__LANES) is \"256\", from the environment: must be a whole number from 0 to 255",
        ),
        (
            ("KONTOR_RELAY__EAGER", "yes"),
            "relay.eager (KONTOR_RELAY__EAGER) is \"yes\", from the environment: must be true or false",
        ),
        (
            ("KONTOR_RELAY__RATIO", "NaN"),
            "relay.ratio (KONTOR_RELAY__RATIO) is \"NaN\", from the environment: must be a number",
        ),
        (
            ("KONTOR_RELAY__FORMAT", "xml"),
            "relay.format (KONTOR_RELAY__FORMAT) is \"xml\", from the environment: must be one of text, json",
        ),
        (
            ("KONTOR_RELAY__PORTS", "80,many"),
            "relay.ports (KONTOR_RELAY__PORTS) is \"80,many\", from the environment: must be a whole number from 0 to 65535",
        ),
        (
            ("KONTOR_RELAY__RETRY", "many"),
            "relay.retry (KONTOR_RELAY__RETRY) is \"many\", from the environment: must be a table of settings",
        ),
        (
            ("KONTOR_RELAY__POLL_INTERVAL_MS", "0"),
            "relay.poll_interval_ms (KONTOR_RELAY__POLL_INTERVAL_MS) is 0: must be at least 1",
        ),
        (("KONTOR_RELAY__RATIO", "1.5"), "relay.ratio (KONTOR_RELAY__RATIO) is 1.5: must be from 0 to 1"),
        (
            ("KONTOR_LOG__URL", "hunter2"),
            "log.url (KONTOR_LOG__URL) is ***, from the environment: must be a URL such as \
             scheme://user:password@host:port/name",
        ),
        (
            ("KONTOR_LOG__PASSWORD", "letmein"),
            "log.password (KONTOR_LOG__PASSWORD) is \"***\": must not be the first one that comes to mind",
        ),
    ];
    for (variable, told) in cases {
        assert_eq!(from_environment(&[variable]).expect_err(variable.0).to_string(), told);
    }
}

#[test]
fn each_refused_line_of_the_file_is_named_with_its_rule() {
    let cases = [
        (
            "[log]\nurl = \"x\"\nurls = 1",
            "log.urls in kontor.toml is no setting: section log has no urls, only password, url",
        ),
        (
            "[relais]",
            "relais in kontor.toml is no setting: there is no section relais, only executor, http, identity, live, log, mail, nats, ops, \
             payments, privacy, processes, projections, query, recommendations, redis, relay, replica, search, shop, simulator, stripe, telemetry, vectors",
        ),
        (
            "relay.lanes = \"4\"",
            "relay.lanes (KONTOR_RELAY__LANES) is \"4\", from kontor.toml: must be a whole number from 0 to 255",
        ),
        ("relay.name = 4", "relay.name (KONTOR_RELAY__NAME) is 4, from kontor.toml: must be text"),
        ("log.password = 4711", "log.password (KONTOR_LOG__PASSWORD) is ***, from kontor.toml: must be text"),
        ("relay = 4", "relay (KONTOR_RELAY) is 4, from kontor.toml: must be a table of settings"),
    ];
    for (text, told) in cases {
        assert_eq!(from_file(text, &[]).expect_err(text), told);
    }
}

#[test]
fn a_file_that_is_not_toml_is_refused_by_its_place_without_quoting_the_line() {
    let told = from_file("[log]\npassword = \"hunter2\" oops\n", &[]).expect_err("not TOML");
    assert!(told.starts_with("settings file kontor.toml is not TOML, line 2, column "), "{told}");
    assert!(!told.contains("hunter2") && !told.contains('\n'), "{told}");
}

#[test]
fn a_file_that_is_not_there_is_refused() {
    let told = load_from::<Tier>(Some(Path::new("nowhere.toml")), []).expect_err("no such file").to_string();
    assert_eq!(told, "settings file nowhere.toml cannot be read: entity not found");
}

#[test]
fn secrets_show_themselves_to_nobody_who_does_not_ask() {
    let pairs = [
        ("KONTOR_LOG__URL", "postgres://kontor:hunter2@db:5432/kontor?sslmode=require&sslpassword=hunter2"),
        ("KONTOR_LOG__PASSWORD", "hunter2"),
    ];
    let log = from_environment(&pairs).expect("is allowed").log;
    let url = log.url.as_ref().expect("was given");
    assert_eq!(url.to_string(), "postgres://kontor:***@db:5432/kontor?sslmode=require&sslpassword=***");
    assert_eq!(url.expose(), pairs[0].1);
    assert_eq!(log.password.expose(), "hunter2");
    let everything = format!("{log:?}{}{}", log.password, serde_json::to_string(&log).expect("is plain"));
    assert!(!everything.contains("hunter2"), "{everything}");
}
