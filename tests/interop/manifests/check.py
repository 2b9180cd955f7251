"""Every manifest of the repository, rendered as its users render it, and checked by what they check with.

A manifest counts as good when Kubernetes' own schemas accept it without an unknown field, checkov has nothing to say that is
not excepted in checkov.yaml, and the gate itself accepts the flags and variables that are in it.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
DEPLOY = ROOT / "deploy"
CLAIMGATE = os.environ["CLAIMGATE"]
HELM = os.environ["HELM"]
BIN = Path(sys.executable).parent
NATIVE = ("1.29", "1.37")
PLAIN = ("1.25", "1.37")
INJECT = [CLAIMGATE, "inject", "--issuer", "https://issuer.example.com", "--audience", "https://api.example.com"]

passed = []
failed = []


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=ROOT, **options)


def check(name, *command, **options):
    """Runs a command that has to succeed; what it printed."""
    done = run(*command, **options)
    if done.returncode == 0:
        passed.append(name)
    else:
        failed.append(name)
        print(f"FAILED {name}: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}", flush=True)
    return done.stdout


def expect(name, is_so, why=""):
    (passed if is_so else failed).append(name)
    if not is_so:
        print(f"FAILED {name}: {why}", flush=True)


def sources():
    templates = DEPLOY / "helm" / "claimgate" / "templates"
    files = [file for file in DEPLOY.rglob("*.yaml") if templates not in file.parents]
    expect("there are manifests", len(files) > 15, files)
    check("yamllint", BIN / "yamllint", "--strict", "-c", HERE / "yamllint.yaml", *files)
    check("hadolint", BIN / "hadolint", DEPLOY / "Dockerfile")


def rendered():
    """Each set of manifests with its name and the versions of Kubernetes that it is for."""
    for folder in sorted((DEPLOY / "kustomize" / "examples").iterdir()):
        versions = PLAIN if folder.name == "plain" else NATIVE
        yield folder.name, versions, check(f"kustomize {folder.name}", BIN / "kubectl", "kustomize", folder)
    chart = DEPLOY / "helm" / "claimgate"
    values = sorted((chart / "ci").glob("*-values.yaml"))
    expect("there are values for the chart", len(values) > 1)
    for file in values:
        check(f"helm lint {file.name}", HELM, "lint", "--strict", "-f", file, chart)
        yield f"chart-{file.stem}", PLAIN, check(f"helm template {file.name}", HELM, "template", "-n", "shop", "r", chart, "-f", file)
    yield "dependent-chart", NATIVE, dependent_chart(chart)
    app = (DEPLOY / "kustomize" / "base" / "app.yaml").read_text()
    for form, versions, flags in (("native", NATIVE, []), ("plain", PLAIN, ["--plain"])):
        yield f"inject-{form}", versions, check(f"inject {form}", *INJECT, *flags, input=app)


def dependent_chart(chart):
    """Another chart that takes the container alone."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "templates").mkdir()
        (folder / "charts").mkdir()
        (folder / "charts" / "claimgate").symlink_to(chart)
        (folder / "Chart.yaml").write_text("apiVersion: v2\nname: app\nversion: 0.1.0\n")
        (folder / "values.yaml").write_text(
            "claimgate:\n  enabled: false\n  upstream: http://127.0.0.1:8080\n  issuer: [https://issuer.example.com]\n"
            "  flags:\n    origin-health-check: /healthz\n"
        )
        app = yaml.safe_load_all((DEPLOY / "kustomize" / "base" / "app.yaml").read_text())
        app = next(document for document in app if document["kind"] == "Deployment")
        text = yaml.safe_dump(app) + "      initContainers:\n"
        text += '        {{- include "claimgate.container" (dict "values" .Values.claimgate "native" true) | nindent 8 }}\n'
        (folder / "templates" / "app.yaml").write_text(text)
        return check("helm template of a chart that depends on it", HELM, "template", "r", folder)


def refusals_of_the_chart():
    """What the schema and the templates refuse, each with the word that helps."""
    chart = DEPLOY / "helm" / "claimgate"
    good = ["--set", "upstream=http://app:8080", "--set", "issuer={https://issuer.example.com}"]
    for flags, told in (
        ([], "upstream: where requests go"),
        (good[:2], "issuer: whose tokens are accepted"),
        (good + ["--set", "upstream=ftp://app"], "upstream: Does not match pattern"),
        (good + ["--set", "flags.listen=0.0.0.0:1"], "flags"),
        (good + ["--set", "drainDelay=5"], "drainDelay"),
        (good + ["--set", "audiences={a}"], "audiences"),
        (good + ["--set", "port=0"], "port"),
        (good + ["--set", "flags.max-body-size=9007199254740993"], "max-body-size"),
    ):
        done = run(HELM, "template", "r", chart, *flags)
        expect(f"the chart refuses {flags[-1:]}", done.returncode != 0 and told in done.stderr, done.stderr)


def numbers_of_the_chart():
    """Helm reads every number of a values file as a double; none may come out as one."""
    chart = DEPLOY / "helm" / "claimgate"
    text = check("helm template of large numbers", HELM, "template", "r", chart, "-f", chart / "ci" / "large-numbers-values.yaml")
    for told in (
        "--max-body-size=10485760",
        "--token-cache-size=16777216",
        "--max-connections=1000000",
        "replicas: 1000000",
        "terminationGracePeriodSeconds: 2592000",
        "maxUnavailable: 1000000",
        "memory: 67108864",
    ):
        expect(f"the chart renders {told}", told in text, text)
    expect("the chart renders no double", not re.search(r"\de\+\d", text), text)
    text = check("helm template of a comma", HELM, "template", "r", chart, "-f", chart / "ci" / "all-values.yaml", "--set-string", "audience={urn:x:a\\,b}")
    expect("the chart gives a lone value with a comma twice", text.count("--audience=urn:x:a,b") == 2, text)
    for given in ("max-waiting-requests=1000000", "max-waiting-requests=0", "tls-min-version=1.3"):
        flags = ["--set", "upstream=http://app:8080", "--set", "issuer={https://i.example.com}"]
        text = check(f"helm --set {given}", HELM, "template", "r", chart, *flags, "--set", f"flags.{given}")
        expect(f"the chart renders --{given} of --set", f"--{given}" in text, text)


def containers(documents):
    for document in documents:
        spec = document.get("spec", {})
        pod = spec if document["kind"] == "Pod" else spec.get("template", {}).get("spec", {})
        yield from pod.get("initContainers", []) + pod.get("containers", [])


def environment_of(container, documents):
    maps = {document["metadata"]["name"]: document["data"] for document in documents if document["kind"] == "ConfigMap"}
    variables = {}
    for source in container.get("envFrom", []):
        variables |= maps[source["configMapRef"]["name"]]
    return variables | {one["name"]: one["value"] for one in container.get("env", [])}


def the_gate_takes_its_flags(name, documents):
    """The gate names all mistakes at once: beside one that is made on purpose there must be no other."""
    gates = [one for one in containers(documents) if one["name"] == "claimgate"]
    expect(f"{name}: there is a gate", len(gates) == 1, gates)
    for gate in gates:
        # Files are in the cluster, not here.
        names_a_file = re.compile(r"^(--[a-z-]+-file=|CLAIMGATE_\w+_FILE$)")
        arguments = [argument.replace("$$(", "$(") for argument in gate.get("args", []) if not names_a_file.match(argument)]
        variables = {key: value for key, value in environment_of(gate, documents).items() if not names_a_file.match(key)}
        done = subprocess.run([CLAIMGATE, *arguments, "--workers=0"], env=variables, capture_output=True, text=True)
        errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
        is_so = done.returncode == 2 and len(errors) == 1 and errors[0].startswith("error: --workers '0'")
        expect(f"{name}: the gate takes its flags", is_so, f"{arguments} {variables}\n{done.stderr}")


def closed(name, documents):
    """Services lead to the gate, and the app beside it keeps to loopback, unless it is the chart's gateway."""
    for service in (document for document in documents if document["kind"] == "Service"):
        targets = [port.get("targetPort") for port in service["spec"]["ports"]]
        expect(f"{name}: its Service leads to the gate", targets == [4180] or targets == ["claimgate"], targets)
    has_policy = any(document["kind"] == "NetworkPolicy" for document in documents)
    expect(f"{name}: it has a NetworkPolicy", has_policy or name.startswith(("chart-", "dependent-", "inject-")))
    for policy in (document for document in documents if document["kind"] == "NetworkPolicy"):
        opened = [port.get("port") for rule in policy["spec"]["ingress"] for port in rule.get("ports", [])]
        expect(f"{name}: its NetworkPolicy opens one port, and not that of health", len(opened) == 1 and 9181 not in opened, opened)
    for app in (one for one in containers(documents) if one["name"] == "app"):
        asks = [app[probe]["httpGet"] for probe in ("livenessProbe", "readinessProbe")]
        is_ours = all(ask["port"] == 9181 and ask["path"].startswith("/healthz/origin?") for ask in asks)
        expect(f"{name}: the app is probed through the gate", is_ours or name == "dependent-chart", asks)


def main():
    sources()
    refusals_of_the_chart()
    numbers_of_the_chart()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name, versions, text in rendered():
            file = folder / f"{name}.yaml"
            file.write_text(text)
            documents = [document for document in yaml.safe_load_all(text) if document]
            expect(f"{name}: it is not empty", documents)
            for version in versions:
                check(f"{name}: Kubernetes {version}", BIN / "kubernetes-validate", "--strict", "-k", version, file)
            # A test of the chart runs once, by hand.
            documents = [one for one in documents if "helm.sh/hook" not in one["metadata"].get("annotations", {})]
            file.write_text(yaml.safe_dump_all(documents))
            the_gate_takes_its_flags(name, documents)
            closed(name, documents)
        check("checkov", BIN / "checkov", "--config-file", HERE / "checkov.yaml", "-d", folder)
    print(f"{len(passed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
