"""What is applied: an app with probes, its caller, and the repository's own manifests with our names in them."""

import json
import os
from pathlib import Path

from cluster import APP_IMAGE, IMAGE, NAMESPACE, kubectl

ROOT = Path(__file__).resolve().parents[2]
AUDIENCE = "app"
SECRETS = "/var/run/secrets/kubernetes.io/serviceaccount"
#: Busybox takes no more than 9 connections that wait.
CONNECTIONS = 8


def serve(late=0):
    """Busybox ends at once at SIGTERM, or never; an app that behaves hears of it 3 s before everybody else has."""
    script = '/bin/busybox httpd -f -h /www -p "$LISTEN" & trap "/bin/busybox sleep 3; kill $!; exit" TERM; wait'
    return ["/bin/busybox", "sh", "-c", f"/bin/busybox sleep {late}; {script}" if late else script]


def app_container(listen):
    probe = {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 2}
    return {
        "name": "app", "image": APP_IMAGE, "imagePullPolicy": "IfNotPresent", "command": serve(),
        "env": [{"name": "LISTEN", "value": listen}], "ports": [{"name": "http", "containerPort": 8080}],
        "livenessProbe": probe, "readinessProbe": probe,
    }  # fmt: skip


def plain_app(listen="0.0.0.0:8080"):
    """A Deployment as somebody has it, and its Service."""
    labels = {"app": "app"}
    pod = {"serviceAccountName": "app", "containers": [app_container(listen)]}
    deployment = {
        "replicas": 2,
        "selector": {"matchLabels": labels},
        "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    service = {"selector": labels, "ports": [{"port": 80, "targetPort": "http"}]}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"}, "spec": deployment},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "app"}, "spec": service},
    ]


def created():
    """Another Deployment, with a probe of another kind."""
    deployment, _ = plain_app("127.0.0.1:8080")
    deployment["metadata"]["name"], deployment["spec"]["replicas"] = "other", 1
    labels = {"app": "other"}
    deployment["spec"]["selector"] = {"matchLabels": labels}
    deployment["spec"]["template"]["metadata"]["labels"] = labels
    (app,) = deployment["spec"]["template"]["spec"]["containers"]
    del app["livenessProbe"]
    app["readinessProbe"] = {"tcpSocket": {"port": 8080}}
    return deployment


def late_pod(seconds):
    """Its origin listens only after so many seconds."""
    app = app_container("127.0.0.1:8080") | {"command": serve(late=seconds)}
    del app["livenessProbe"]
    pod = {"serviceAccountName": "app", "terminationGracePeriodSeconds": 1, "containers": [app]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "late", "labels": {"app": "late"}}, "spec": pod}


def caller():
    """A pod with two tokens in files: one for the app, and one that says nothing of whom it is for."""
    sources = [{"serviceAccountToken": {"path": "app", "audience": AUDIENCE}}, {"serviceAccountToken": {"path": "other"}}]
    container = {
        "name": "caller", "image": APP_IMAGE, "imagePullPolicy": "IfNotPresent", "args": ["127.0.0.1:8081"],
        "volumeMounts": [{"name": "tokens", "mountPath": "/tokens"}],
    }  # fmt: skip
    pod = {
        "serviceAccountName": "caller",
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"fsGroup": 65533},
        "containers": [container],
        "volumes": [{"name": "tokens", "projected": {"sources": sources}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "caller", "labels": {"app": "caller"}}, "spec": pod}


def account(name):
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


def binding():
    """As in deploy/kustomize/examples/kubernetes: who may read the issuer's keys."""
    group = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": f"system:serviceaccounts:{NAMESPACE}"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:service-account-issuer-discovery"}
    head = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": NAMESPACE}}
    return head | {"roleRef": role, "subjects": [group]}


def component(folder, issuer, jwks_url):
    """The plain example of the kustomize component, for ServiceAccounts' tokens and with our images."""
    settings = {
        "ISSUER": issuer, "AUDIENCE": AUDIENCE, "JWKS_URL": jwks_url, "ISSUER_CA_FILE": f"{SECRETS}/ca.crt",
        "JWKS_BEARER_TOKEN_FILE": f"{SECRETS}/token",
    }  # fmt: skip
    app = {"name": "app", "command": serve()}
    pod = {"serviceAccountName": "app", "automountServiceAccountToken": True, "containers": [app]}
    patch = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"}, "spec": {"template": {"spec": pod}}}
    generator = {"name": "claimgate", "namespace": "shop", "behavior": "merge"}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": NAMESPACE,
        "resources": [os.path.relpath(ROOT / "deploy/kustomize/examples/plain", folder)],
        "images": [image("app", APP_IMAGE), image("claimgate", IMAGE)],
        "configMapGenerator": [generator | {"literals": [f"CLAIMGATE_{name}={value}" for name, value in settings.items()]}],
        "patches": [{"patch": json.dumps(patch)}],
    }
    (folder / "kustomization.yaml").write_text(json.dumps(kustomization))
    return kubectl("kustomize", folder)


def image(name, reference):
    repository, _, tag = reference.rpartition(":")
    return {"name": name, "newName": repository, "newTag": tag}


def chart_values(upstream, issuer, jwks_url):
    repository, _, tag = IMAGE.rpartition(":")
    files = {"issuer-ca-file": f"{SECRETS}/ca.crt", "jwks-bearer-token-file": f"{SECRETS}/token"}
    return {
        "image": {"repository": repository, "tag": tag},
        "upstream": upstream,
        "issuer": [issuer],
        "audience": [AUDIENCE],
        "flags": files | {"jwks-url": jwks_url, "max-upstream-connections": CONNECTIONS},
        "podLabels": {"app": "gateway"},
        "serviceAccount": {"automount": True},
        "networkPolicy": {"enabled": True},
    }
