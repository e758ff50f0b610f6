"""template.yaml: what it refuses, what it opens, and what it takes from the function.

SAM's own checks of it are in tests/image/test_sam.py, because they need SAM.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

import pytest

from lambda_app.api.events.direct import ACTIONS
from lambda_app.bulk import prices
from lambda_app.errors import ConfigurationError
from lambda_app.settings import DEFAULT_METRICS_NAMESPACE, HASHES_OF_NOTHING, LOG_LEVELS, Settings
from scripts.paths import ROOT
from tests.support.pages import first_cells
from tests.support.template import RESOURCES, TEMPLATE, refusals

FUNCTIONS = ("HttpFunction", "PipelineFunction")
S3_FILES = (
    "arn:aws:s3files:eu-west-1:123456789012:file-system/fs-0123456789abcdef0"
    "/access-point/fsap-0123456789abcdef0"
)
EFS = "arn:aws:elasticfilesystem:eu-west-1:123456789012:access-point/fsap-0123456789abcdef0"
NETWORK = {"SubnetIds": "subnet-0a,subnet-0b", "SecurityGroupIds": "sg-0a"}
HASH = "a" * 64
BULK = {"BulkSourceBucket": "texts", "BulkOutputBucket": "vectors"}
# None of these takes a resource.
LOG_DELIVERY = {
    *(f"logs:{verb}LogDelivery" for verb in ("Create", "Get", "Update", "Delete")),
    *("logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:DescribeResourcePolicies"),
    "logs:DescribeLogGroups",
}
OUTPUT = {"Fn::Sub": "arn:${AWS::Partition}:s3:::${BulkOutputBucket}/${BulkOutputPrefix}/*"}


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"SnapStart": "true"},
        {"ProvisionedConcurrency": "2", "EphemeralStorage": "1024"},
        {"EfsAccessPointArn": EFS, **NETWORK},
        {"EfsAccessPointArn": EFS, "ProvisionedConcurrency": "1", **NETWORK},
        {"ModelBundleBucket": "models", "EphemeralStorage": "2048"},
        {"AuthMode": "API_KEYS", "ApiKeysSha256": HASH},
        NETWORK,
        BULK,
        {**BULK, "BulkSourcePrefix": "in", "BulkVectorBucket": "index", "BulkStartOnUpload": "true"},
    ],
)
def test_combinations_that_work(parameters: dict[str, str]) -> None:
    assert refusals(**parameters) == []


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"SnapStart": "true", "ProvisionedConcurrency": "1"}, "SnapStart excludes provisioned concurrency"),
        ({"SnapStart": "true", "EfsAccessPointArn": EFS, **NETWORK}, "SnapStart excludes EFS"),
        ({"SnapStart": "true", "EphemeralStorage": "513"}, "SnapStart excludes more than 512 MB"),
        ({"EfsAccessPointArn": EFS, "SecurityGroupIds": "sg-0a"}, "through a VPC: set SubnetIds"),
        ({"EfsAccessPointArn": EFS, "SubnetIds": "subnet-0a"}, "through a VPC: set SecurityGroupIds"),
        ({"EfsAccessPointArn": EFS, "ModelBundleBucket": "b", **NETWORK}, "from EFS or from S3"),
        ({"SubnetIds": "subnet-0a"}, "set both, or neither"),
        ({"AuthMode": "API_KEYS"}, "without keys the API would be open to everybody"),
        ({"ApiKeysSha256": HASH}, "ApiKeysSha256 is for AuthMode API_KEYS"),
        ({"BulkSourceBucket": "texts"}, "set both, or neither; BulkVectorBucket needs both"),
        ({"BulkOutputBucket": "vectors"}, "set both, or neither; BulkVectorBucket needs both"),
        ({"BulkVectorBucket": "index"}, "set both, or neither; BulkVectorBucket needs both"),
        ({"BulkStartOnUpload": "true"}, "BulkStartOnUpload needs BulkSourceBucket"),
        (
            {"BulkSourceBucket": "a", "BulkOutputBucket": "a", "BulkStartOnUpload": "true"},
            "what a job writes must not start the next one",
        ),
    ],
)
def test_combinations_that_are_refused(parameters: dict[str, str], message: str) -> None:
    assert any(message in refusal for refusal in refusals(**parameters))


# Who may call


def test_no_api_is_ever_open() -> None:
    apis = {name: api for name, api in RESOURCES.items() if api["Type"] == "AWS::Serverless::HttpApi"}
    assert {name: api["Condition"] for name, api in apis.items()} == {
        "IamApi": "WithIam",
        "KeyApi": "WithKeys",
    }
    assert TEMPLATE["Parameters"]["AuthMode"]["Default"] == "IAM"
    auth = apis["IamApi"]["Properties"]["Auth"]
    assert auth == {"EnableIamAuthorizer": True, "DefaultAuthorizer": "AWS_IAM"}
    # With keys, the function is what asks, and the rules see to it that it has some.
    keys = RESOURCES["HttpFunction"]["Properties"]["Environment"]["Variables"]["API_KEYS_SHA256"]
    assert keys == {"Ref": "ApiKeysSha256"}
    # Nothing else invites callers.
    assert not any("FunctionUrlConfig" in RESOURCES[name]["Properties"] for name in FUNCTIONS)
    assert not any("Events" in RESOURCES[name]["Properties"] for name in FUNCTIONS)


@pytest.mark.parametrize(
    ("hashes", "taken"),
    [
        ("", True),
        (HASH, True),
        (f"{HASH},{HASH}", True),
        ("key", False),
        (HASH.upper(), False),
        # Of an empty key, as a shell variable that is not set gives it.
        *((prefix + empty, False) for empty in sorted(HASHES_OF_NOTHING) for prefix in ("", f"{HASH},")),
        (f"{min(HASHES_OF_NOTHING)},{HASH}", False),
    ],
)
def test_the_template_takes_the_hashes_that_the_function_takes(hashes: str, taken: bool) -> None:
    pattern = TEMPLATE["Parameters"]["ApiKeysSha256"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, hashes)) == taken
    if taken:
        Settings.from_env({"API_KEYS_SHA256": hashes})
    else:
        with pytest.raises(ConfigurationError):
            Settings.from_env({"API_KEYS_SHA256": hashes})


# What the functions may do


def statements(resources: Mapping[str, Any] = RESOURCES) -> list[dict[str, Any]]:
    documents = []
    for resource in resources.values():
        properties = resource.get("Properties", {})
        documents += [
            policy["PolicyDocument"]
            for policy in [properties, *properties.get("Policies", [])]
            if "PolicyDocument" in policy
        ]
    found = [statement for document in documents for statement in document["Statement"]]
    return [statement["Fn::If"][1] if "Fn::If" in statement else statement for statement in found]


def listed_actions(statement: Mapping[str, Any]) -> list[str]:
    found = statement["Action"]
    return found if isinstance(found, list) else [found]


def test_functions_may_do_what_is_needed_and_no_more() -> None:
    actions = set()
    for statement in statements():
        listed = listed_actions(statement)
        actions |= set(listed)
        if statement["Resource"] == "*":
            # Neither service lets these be narrowed.
            assert all(
                action.startswith(("xray:Put", "xray:GetSampling", "ec2:")) or action in LOG_DELIVERY
                for action in listed
            )
    assert not any("*" in action for action in actions)
    assert {action.partition(":")[0] for action in actions} == {
        *(
            "logs",
            "xray",
            "ec2",
            "elasticfilesystem",
            "s3files",
            "s3",
            "sqs",
            "s3vectors",
            "lambda",
            "states",
        ),
    }


def test_nothing_of_jobs_over_s3_exists_unless_a_bucket_is_named() -> None:
    ours = {name: resource for name, resource in RESOURCES.items() if name.startswith("Bulk")}
    assert len(ours) >= 8
    assert {resource["Condition"] for resource in ours.values()} <= {"WithBulk", "WithBulkOnUpload"}
    # Whatever writes objects or starts executions is among them.
    others = {name: resource for name, resource in RESOURCES.items() if name not in ours}
    # A ready sink writes too, and exists where ResultSink names one.
    written = {name: resource for name, resource in others.items() if name != "ResultObjectsPolicy"}
    actions = {action for statement in statements(written) for action in listed_actions(statement)}
    assert not {"s3:PutObject", "s3:DeleteObject", "states:StartExecution", "lambda:InvokeFunction"} & actions
    assert "Bulk" not in json.dumps(others)


def test_jobs_over_s3_reach_their_prefixes_only() -> None:
    checked = 0
    for name in ("BulkFunctionPolicy", "BulkStateMachineRole", "BulkChildrenPolicy", "BulkUploadRole"):
        for statement in statements({name: RESOURCES[name]}):
            for action in listed_actions(statement):
                where = statement["Resource"]
                checked += action.startswith("s3")
                if action in {"s3:PutObject", "s3:DeleteObject"}:
                    assert where == OUTPUT
                elif action.startswith("s3:"):
                    assert "${BulkOutputBucket}" in str(where) or "${BulkSourceBucket}" in str(where)
                elif action.startswith("s3vectors:"):
                    assert "bucket/${BulkVectorBucket}/index/*" in str(where)
    assert checked > 5


@pytest.mark.parametrize(
    ("name", "actions"),
    [
        # A ResultWriter writes in several parts, and an index of which a document is withdrawn deletes.
        ("BulkStateMachineRole", {"s3:PutObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"}),
        ("BulkFunctionPolicy", {"s3vectors:PutVectors", "s3vectors:DeleteVectors"}),
    ],
)
def test_jobs_over_s3_have_the_rights_that_they_need(name: str, actions: set[str]) -> None:
    given = {
        action for statement in statements({name: RESOURCES[name]}) for action in listed_actions(statement)
    }
    assert actions <= given


def definition() -> dict[str, Any]:
    """The state machine, with a number for each of the parameters."""
    text = RESOURCES["BulkStateMachine"]["Properties"]["DefinitionString"]["Fn::Sub"]
    read: dict[str, Any] = json.loads(re.sub(r"(?<=: )\$\{\w+\}", "7", text))
    return read


def test_the_state_machine_calls_the_actions_of_the_function() -> None:
    states = definition()["States"]
    embed = states["Embed"]
    children = embed["ItemProcessor"]["States"]
    payloads = [
        state["Parameters"]["Payload"]
        for state in (*states.values(), *children.values())
        if state.get("Resource", "").endswith("lambda:invoke")
    ]
    actions = {payload["action"] for payload in payloads}
    assert actions == {"plan", "embed_object", "finish"}
    assert actions <= ACTIONS.keys()
    assert (embed["MaxConcurrency"], embed["ToleratedFailurePercentage"]) == (7, 7)
    assert embed["ItemReader"]["ReaderConfig"] == {"InputType": "JSONL"}
    # Express children end after five minutes, and a part may go on for longer.
    assert embed["ItemProcessor"]["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    # Where too many parts failed, the others are counted all the same.
    assert embed["Catch"][0]["Next"] == embed["Next"] == "Finish"


def test_states_lead_to_states_that_exist_and_each_is_reached() -> None:
    for machine in (definition(), definition()["States"]["Embed"]["ItemProcessor"]):
        states = machine["States"]
        reached = {machine["StartAt"]}
        for state in states.values():
            targets = [state.get("Next"), state.get("Default")]
            targets += [each["Next"] for each in (*state.get("Choices", ()), *state.get("Catch", ()))]
            reached |= {target for target in targets if target}
        assert reached == states.keys()


def test_what_a_job_is_said_to_cost_counts_the_states_that_there_are() -> None:
    """Each state that a job passes is a transition, and so is its end."""
    states = definition()["States"]
    assert len([name for name in states if not name.startswith("Not")]) + 1 == prices.JOB_TRANSITIONS
    children = states["Embed"]["ItemProcessor"]["States"]
    assert len(children.keys() - {"NotEmbedded", "Continue"}) + 1 == prices.PART_TRANSITIONS
    assert len({"Continue", "EmbedObject", "Embedded"} & children.keys()) == prices.REPEAT_TRANSITIONS


def test_asynchronous_invocations_that_fail_are_kept() -> None:
    properties = RESOURCES["PipelineFunction"]["Properties"]
    destination = properties["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]
    queue = {"Fn::GetAtt": "AsyncFailures.Arn"}
    assert destination == {"Type": "SQS", "Destination": queue}
    assert RESOURCES["AsyncFailures"]["Type"] == "AWS::SQS::Queue"
    # SAM adds no permission to a role that the template declares.
    allowed = [statement for statement in statements() if statement["Action"] == "sqs:SendMessage"]
    assert [statement["Resource"] for statement in allowed] == [queue]
    assert "async-failures" in {
        policy["PolicyName"] for policy in RESOURCES["PipelineFunctionRole"]["Properties"]["Policies"]
    }


# What the template takes from the function


def test_functions_get_variables_that_exist() -> None:
    variables = set(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])
    for name in FUNCTIONS:
        variables |= set(RESOURCES[name]["Properties"]["Environment"]["Variables"])
    assert variables <= set(first_cells("docs/reference/configuration.md", "variable"))


@pytest.mark.parametrize(
    ("routers", "taken"),
    [
        ("", True),
        ("my_module:router", True),
        ("my_package.routes:router,other:team", True),
        ("my_module", False),
        ("my_module:", False),
        ("my_module:routers.team", False),
        ("my_module:router,", False),
        ("my_module:router other:team", False),
    ],
)
def test_routers_of_the_deployers_own_reach_the_function(routers: str, taken: bool) -> None:
    variables = RESOURCES["HttpFunction"]["Properties"]["Environment"]["Variables"]
    assert variables["APP_ROUTERS"] == {"Ref": "AppRouters"}
    pattern = TEMPLATE["Parameters"]["AppRouters"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, routers)) == taken
    if taken:
        assert ",".join(Settings.from_env({"APP_ROUTERS": routers}).app_routers) == routers


HTTP_SETTINGS = {
    "CORS_ALLOW_ORIGINS": "CorsAllowOrigins",
    "DOCS_PUBLIC": "DocsPublic",
    "UNKNOWN_FIELDS": "UnknownFields",
    "API_BASE_PATH": "ApiBasePath",
}
SETTINGS = {"MODELS": "Models", "NUL_CHARACTERS": "NulCharacters"}


def test_settings_reach_the_functions() -> None:
    http = RESOURCES["HttpFunction"]["Properties"]["Environment"]["Variables"]
    both = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    for variables, settings in ((http, HTTP_SETTINGS), (both, SETTINGS)):
        for variable, parameter in settings.items():
            assert variables[variable] == {"Ref": parameter}


@pytest.mark.parametrize(("variable", "parameter"), [*HTTP_SETTINGS.items(), *SETTINGS.items()])
def test_the_function_takes_what_the_template_allows(variable: str, parameter: str) -> None:
    declared = TEMPLATE["Parameters"][parameter]
    for value in declared.get("AllowedValues", [declared["Default"]]):
        Settings.from_env({variable: value})


@pytest.mark.parametrize(
    ("variable", "value", "taken"),
    [
        ("CORS_ALLOW_ORIGINS", "*", True),
        ("CORS_ALLOW_ORIGINS", "https://example.com,http://localhost:3000", True),
        ("CORS_ALLOW_ORIGINS", "http://[::1]:3000", True),
        ("CORS_ALLOW_ORIGINS", "https://*.example.com", False),
        ("CORS_ALLOW_ORIGINS", "https://Example.com", False),
        ("CORS_ALLOW_ORIGINS", "https://example.com/", False),
        ("CORS_ALLOW_ORIGINS", "example.com", False),
        ("API_BASE_PATH", "/search", True),
        ("API_BASE_PATH", "/team/search", True),
        ("API_BASE_PATH", "search", False),
    ],
)
def test_the_template_takes_the_settings_that_the_function_takes(
    variable: str, value: str, taken: bool
) -> None:
    pattern = TEMPLATE["Parameters"][HTTP_SETTINGS[variable]]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, value)) == taken
    if taken:
        Settings.from_env({variable: value})
    else:
        with pytest.raises(ConfigurationError):
            Settings.from_env({variable: value})


def test_the_api_serves_the_bare_address() -> None:
    for name in ("IamApi", "KeyApi"):
        paths = RESOURCES[name]["Properties"]["DefinitionBody"]["paths"]
        assert paths["/"] == paths["/{proxy+}"]


def test_the_pipeline_function_has_no_web_layer() -> None:
    preload = RESOURCES["PipelineFunction"]["Properties"]["Environment"]["Variables"]["PRELOAD"]
    assert Settings.from_env({"PRELOAD": preload}).preload == {"embedding", "reranker"}


@pytest.mark.parametrize("level", TEMPLATE["Parameters"]["LogLevel"]["AllowedValues"])
def test_log_levels_are_known_to_the_function(level: str) -> None:
    assert Settings.from_env({"LOG_LEVEL": level}).log_level in LOG_LEVELS.values()


def test_the_dashboard_shows_the_metric_that_the_function_writes() -> None:
    body, _ = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    widgets = json.loads(body)["widgets"]
    metrics = [metric for widget in widgets for metric in widget["properties"].get("metrics", [])]
    cold = [metric for metric in metrics if metric[0] == DEFAULT_METRICS_NAMESPACE]
    assert len(cold) == 4
    for metric in cold:
        assert metric[1] == "ColdStartDuration"
        assert (metric[2], metric[4]) == ("FunctionName", "InitializationType")


def test_logs_are_json_and_do_not_stay_for_ever() -> None:
    groups = [resource for resource in RESOURCES.values() if resource["Type"] == "AWS::Logs::LogGroup"]
    assert len(groups) == 4
    assert all(group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"} for group in groups)
    for name in FUNCTIONS:
        assert RESOURCES[name]["Properties"]["LoggingConfig"]["LogFormat"] == "JSON"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_alarms_that_roll_a_deployment_back_watch_the_alias(name: str) -> None:
    alarms = RESOURCES[name]["Properties"]["DeploymentPreference"]["Alarms"]
    watched = {}
    for alarm in alarms:
        properties = RESOURCES[alarm["Ref"]]["Properties"]
        watched[properties["MetricName"]] = properties.get("ExtendedStatistic", properties.get("Statistic"))
        assert {"Name": "Resource", "Value": {"Fn::Sub": f"${{{name}}}:live"}} in properties["Dimensions"]
    assert watched == {"Errors": "Sum", "Duration": "p95", "Throttles": "Sum"}


def test_sam_lints_and_keeps_local_images() -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))["default"]
    assert config["validate"]["parameters"]["lint"] is True
    assert config["local_invoke"]["parameters"]["skip_pull_image"] is True
    assert config["deploy"]["parameters"]["capabilities"] == "CAPABILITY_IAM"


@pytest.mark.parametrize(
    ("arn", "taken"),
    [
        (EFS, True),
        (S3_FILES, True),
        ("", True),
        ("arn:aws:s3files:eu-west-1:123456789012:file-system/fs-0123456789abcdef0", False),
        ("arn:aws:s3:::bucket", False),
        (S3_FILES + "/more", False),
    ],
)
def test_bundles_are_mounted_from_efs_and_s3_files(arn: str, taken: bool) -> None:
    pattern = TEMPLATE["Parameters"]["EfsAccessPointArn"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, arn)) == taken


def test_an_access_point_is_mounted_read_only_whatever_its_kind() -> None:
    statements = RESOURCES["FunctionPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    text = json.dumps(statements)
    for service in ("elasticfilesystem", "s3files"):
        assert f"{service}:ClientMount" in text
        assert f"{service}:AccessPointArn" in text
        assert f"{service}:ClientWrite" not in text


@pytest.mark.parametrize(
    ("sink", "taken"),
    [
        ("", True),
        ("discard", True),
        ("results:store", True),
        ("s3://bucket", True),
        ("s3://bucket/a/prefix", True),
        ("s3vectors://bucket/index", True),
        ("s3vectors://bucket", False),
        ("s3vectors://bucket/a/b", False),
        ("s3://", False),
        ("s3://bucket/*", False),
        ("store", False),
    ],
)
def test_the_template_takes_the_sinks_that_the_function_does(sink: str, taken: bool) -> None:
    pattern = TEMPLATE["Parameters"]["ResultSink"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, sink)) == taken
    if taken:
        Settings.from_env({"RESULT_SINK": sink})


def test_a_ready_sink_may_write_and_nothing_else() -> None:
    for name, action in (("ResultObjects", "s3:PutObject"), ("ResultVectors", "s3vectors:PutVectors")):
        policy = RESOURCES[f"{name}Policy"]
        assert policy["Condition"] == f"With{name}"
        (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
        assert statement["Action"] == action
