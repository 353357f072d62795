//! Edits of files as projects have them.

use super::check;

const COMPOSE: &str = "\
# The shop.
x-logging: &logging
  driver: json-file
  options: {max-size: \"10m\", max-file: '3'}

services:
  web:
    image: nginx:1.25 # pinned
    ports:
      - \"80:80\"
      - \"443:443\" # tls
    environment:
      - TZ=Europe/Rome
    logging: *logging

  # The database.
  db:
    image: 'postgres:16'
    environment:
      POSTGRES_DB: shop
      # Not in git.
      POSTGRES_PASSWORD: ${DB_PASSWORD}
    volumes: [data:/var/lib/postgresql/data]

volumes:
  data:
";

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 2
  template:
    spec:
      containers:
      - name: web
        image: registry.local:5000/web:1.4.0
        args: [\"--port\", \"8080\"]
        env:
        - name: LEVEL
          value: \"info\"
        resources:
          limits:
            cpu: 500m
            memory: 128Mi   # measured
      # A helper.
      - name: helper
        image: busybox
";

const NETPLAN: &str = "\
# Written by the installer.
network:
    version: 2
    renderer: networkd
    ethernets:
        eth0:
            dhcp4: true
            # dhcp6: true
        eth1:
            addresses: [10.0.0.2/24]
            routes:
                - to: default
                  via: 10.0.0.1
";

const WORKFLOW: &str = "\
name: CI
on:
  push:
    branches: [main]
  pull_request:

env:
  CARGO_TERM_COLOR: always

jobs:
  test:
    runs-on: ${{ matrix.os }}
    strategy:
      matrix:
        os: [ubuntu-22.04, macos-14]
    steps:
      - uses: actions/checkout@v4
      - name: Test
        run: |
          cargo build
          cargo test # all
        env:
          RUST_BACKTRACE: 1
";

const VARS: &str = "\
---
# Of all hosts.
ntp_servers:
- 0.pool.ntp.org
- 1.pool.ntp.org

sshd_port: 22
sshd_root: no
motd: >-
  Welcome
  to the host.
db_password: !vault |
  $ANSIBLE_VAULT;1.1;AES256
  6162
users:
- name: ada
  groups: ['sudo', 'adm']
- {name: bob, groups: []}
";

const PROMETHEUS: &str = "\
global:
  scrape_interval:     15s # Default is every 1 minute.
  evaluation_interval: 15s

# Alertmanager.
alerting:
  alertmanagers:
    - static_configs:
        - targets:
          # - alertmanager:9093

rule_files:
  # - \"first_rules.yml\"

scrape_configs:
  - job_name: \"prometheus\"

    # metrics_path defaults to '/metrics'

    static_configs:
      - targets: [\"localhost:9090\"]
";

/// Files of real life: what one edit takes away and what it brings.
#[test]
fn files_of_real_life() {
    #[rustfmt::skip]
    let cases: &[(&str, &str, &str, &str, &str)] = &[
        (COMPOSE, "services.web.image", "\"nginx:1.27\"", "nginx:1.25 # pinned", "nginx:1.27 # pinned"),
        (COMPOSE, "services.db.image", "\"postgres:17\"", "'postgres:16'", "'postgres:17'"),
        (COMPOSE, "services.web.ports.1", "\"8443:443\"", "\"443:443\" # tls", "\"8443:443\" # tls"),
        (COMPOSE, "services.web.ports.2", "\"90:90\"", "# tls\n", "# tls\n      - \"90:90\"\n"),
        (COMPOSE, "services.web.restart", "\"always\"", "    logging: *logging\n", "    logging: *logging\n    restart: always\n"),
        (COMPOSE, "services.web.ports", "-", "    ports:\n      - \"80:80\"\n      - \"443:443\" # tls\n", ""),
        (COMPOSE, "services.db.environment.POSTGRES_DB", "-", "      POSTGRES_DB: shop\n", ""),
        (COMPOSE, "services.db.volumes.1", "\"./x:/x\"", "data]", "data, \"./x:/x\"]"),
        (COMPOSE, "x-logging.options.max-file", "\"5\"", "'3'", "'5'"),
        (COMPOSE, "x-logging.options.compress", "\"true\"", "'3'}", "'3', compress: \"true\"}"),
        (COMPOSE, "volumes.data.driver", "\"local\"", "  data:\n", "  data:\n    driver: local\n"),
        (COMPOSE, "volumes.cache", "{}", "  data:\n", "  data:\n  cache: {}\n"),
        (COMPOSE, "networks.front.external", "true", "volumes:\n  data:\n", "volumes:\n  data:\nnetworks:\n  front:\n    external: true\n"),
        (COMPOSE, "services.web.environment", "{\"TZ\": \"UTC\", \"DEBUG\": \"no\"}", "      - TZ=Europe/Rome\n", "      TZ: UTC\n      DEBUG: \"no\"\n"),
        (DEPLOYMENT, "spec.replicas", "3", "replicas: 2", "replicas: 3"),
        (DEPLOYMENT, "spec.template.spec.containers.0.image", "\"web:2\"", "registry.local:5000/web:1.4.0", "web:2"),
        (DEPLOYMENT, "spec.template.spec.containers.0.args.1", "\"9090\"", "\"8080\"", "\"9090\""),
        (DEPLOYMENT, "spec.template.spec.containers.0.args.2", "\"-v\"", "\"8080\"]", "\"8080\", \"-v\"]"),
        (DEPLOYMENT, "spec.template.spec.containers.0.env.1", "{\"name\": \"A\", \"value\": \"1\"}", "value: \"info\"\n", "value: \"info\"\n        - name: A\n          value: \"1\"\n"),
        (DEPLOYMENT, "spec.template.spec.containers.0.resources.limits.memory", "\"256Mi\"", "128Mi   # measured", "256Mi   # measured"),
        (DEPLOYMENT, "spec.template.spec.containers.0.resources.requests", "{\"cpu\": \"1\"}", "# measured\n", "# measured\n          requests:\n            cpu: \"1\"\n"),
        (DEPLOYMENT, "spec.template.spec.containers.1", "-", "      - name: helper\n        image: busybox\n", ""),
        (DEPLOYMENT, "spec.template.spec.containers.1.command", "[\"sleep\", \"1\"]", "busybox\n", "busybox\n        command:\n        - sleep\n        - \"1\"\n"),
        (DEPLOYMENT, "metadata.labels.app", "-", "{app: web}", "{}"),
        (DEPLOYMENT, "metadata.labels.tier", "\"front\"", "{app: web}", "{app: web, tier: front}"),
        (NETPLAN, "network.ethernets.eth0.dhcp4", "false", "dhcp4: true\n            #", "dhcp4: false\n            #"),
        (NETPLAN, "network.ethernets.eth0.mtu", "9000", "# dhcp6: true\n", "# dhcp6: true\n            mtu: 9000\n"),
        (NETPLAN, "network.ethernets.eth1.addresses", "[\"10.0.0.3/24\", \"fd00::3/64\"]", "[10.0.0.2/24]", "[10.0.0.3/24, \"fd00::3/64\"]"),
        (NETPLAN, "network.ethernets.eth1.nameservers.addresses", "[\"1.1.1.1\"]", "via: 10.0.0.1\n", "via: 10.0.0.1\n            nameservers:\n                addresses:\n                    - 1.1.1.1\n"),
        (NETPLAN, "network.ethernets.eth1.routes.0.metric", "100", "via: 10.0.0.1\n", "via: 10.0.0.1\n                  metric: 100\n"),
        (NETPLAN, "network.ethernets.eth1.routes", "-", "            routes:\n                - to: default\n                  via: 10.0.0.1\n", ""),
        (NETPLAN, "network.renderer", "\"NetworkManager\"", "networkd", "NetworkManager"),
        (WORKFLOW, "on.push.branches.1", "\"release/*\"", "[main]", "[main, release/*]"),
        (WORKFLOW, "on.pull_request.branches", "[\"main\"]", "  pull_request:\n", "  pull_request:\n    branches:\n      - main\n"),
        (WORKFLOW, "jobs.test.strategy.matrix.os.0", "\"ubuntu-24.04\"", "ubuntu-22.04", "ubuntu-24.04"),
        (WORKFLOW, "jobs.test.steps.0.uses", "\"actions/checkout@v5\"", "checkout@v4", "checkout@v5"),
        (WORKFLOW, "jobs.test.steps.0.with.submodules", "true", "checkout@v4\n", "checkout@v4\n        with:\n          submodules: true\n"),
        (WORKFLOW, "jobs.test.steps.1.run", "\"cargo test\\n\"", "          cargo build\n          cargo test # all\n", "          cargo test\n"),
        (WORKFLOW, "jobs.test.steps.1.run", "-", "        run: |\n          cargo build\n          cargo test # all\n", ""),
        (WORKFLOW, "jobs.test.steps.1.name", "-", "- name: Test\n        run: |", "- run: |"),
        (WORKFLOW, "jobs.test.runs-on", "\"ubuntu-24.04\"", "${{ matrix.os }}", "ubuntu-24.04"),
        (WORKFLOW, "env", "-", "env:\n  CARGO_TERM_COLOR: always\n", ""),
        (VARS, "ntp_servers.2", "\"2.pool.ntp.org\"", "1.pool.ntp.org\n", "1.pool.ntp.org\n- 2.pool.ntp.org\n"),
        (VARS, "ntp_servers", "[\"a\"]", "- 0.pool.ntp.org\n- 1.pool.ntp.org\n", "- a\n"),
        (VARS, "sshd_root", "false", "sshd_root: no", "sshd_root: false"),
        (VARS, "sshd_root", "\"no\"", "", ""),
        (VARS, "motd", "\"Go away.\"", "  Welcome\n  to the host.\n", "  Go away.\n"),
        (VARS, "motd", "\"one\\ntwo\\n\"", ">-\n  Welcome\n  to the host.\n", "|\n  one\n  two\n"),
        (VARS, "db_password", "-", "db_password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\n", ""),
        (VARS, "users.0.groups.2", "\"www\"", "'adm']", "'adm', www]"),
        (VARS, "users.1.groups.0", "\"www\"", "groups: []", "groups: [www]"),
        (VARS, "users.0", "-", "- name: ada\n  groups: ['sudo', 'adm']\n", ""),
        (VARS, "proxy.no_proxy", "[\"localhost\", \"::1\"]", "groups: []}\n", "groups: []}\nproxy:\n  no_proxy:\n  - localhost\n  - '::1'\n"),
        (PROMETHEUS, "global.scrape_interval", "\"30s\"", "    15s #", "    30s #"),
        (PROMETHEUS, "global.external_labels.site", "\"rome\"", "evaluation_interval: 15s\n", "evaluation_interval: 15s\n  external_labels:\n    site: rome\n"),
        (PROMETHEUS, "rule_files", "[\"a.yml\"]", "rule_files:\n", "rule_files:\n  - a.yml\n"),
        (PROMETHEUS, "alerting.alertmanagers.0.static_configs.0.targets", "[\"a:9093\"]", "- targets:\n", "- targets:\n            - a:9093\n"),
        (PROMETHEUS, "scrape_configs.0.static_configs.0.targets.1", "\"b:9090\"", "9090\"]", "9090\", \"b:9090\"]"),
        (PROMETHEUS, "scrape_configs.1", "{\"job_name\": \"node\", \"static_configs\": [{\"targets\": [\"a:9100\"]}]}", "9090\"]\n", "9090\"]\n  - job_name: node\n    static_configs:\n      - targets:\n          - a:9100\n"),
        (PROMETHEUS, "scrape_configs.0.job_name", "\"self\"", "\"prometheus\"", "\"self\""),
        (PROMETHEUS, "alerting", "-", "alerting:\n  alertmanagers:\n    - static_configs:\n        - targets:\n          # - alertmanager:9093\n", ""),
    ];
    for windows in [false, true] {
        let cases: Vec<[String; 4]> = cases.iter().map(|(file, key, value, from, to)| {
            assert!(file.contains(from), "{from}");
            let ends = |text: String| if windows { text.replace('\n', "\r\n") } else { text };
            [ends((*file).to_owned()), (*key).to_owned(), (*value).to_owned(), ends(file.replacen(from, to, 1))]
        }).collect();
        check(&cases.iter().map(|[before, key, value, after]| (before.as_str(), key.as_str(), value.as_str(), after.as_str())).collect::<Vec<_>>());
    }
}
