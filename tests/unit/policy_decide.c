/* What policies say: each effect, variable, wildcard and condition, and the documents that are shipped. */
#include "tests/unit/policy_rig.h"

enum who { VEHICLE, UNATTACHED, OTHER_ID, NOBODY };

static bool attribute(void *context, struct span name, struct span *value)
{
    if (span_equal(name, SPAN_LITERAL("colour")))
        *value = SPAN_LITERAL("red");
    else if (span_equal(name, SPAN_LITERAL("empty")))
        *value = SPAN_LITERAL("");
    else
        return false;
    return true;
}

static const struct cloud_peer peer = {.tls = true,
                                       .has_certificate = true,
                                       .certificate_id = {0xab, 0xcd, 0x01},
                                       .common_name = "CN-1",
                                       .address = "10.1.2.3"};
static const struct cloud_peer bare = {.tls = true, .common_name = "unproven"};

static struct cloud_principal principal_of(enum who who)
{
    struct cloud_principal p = {.client_id = SPAN_LITERAL("V1"), .peer = &peer, .attribute = attribute};
    switch (who) {
    case VEHICLE:
        p.thing = SPAN_LITERAL("V1");
        p.thing_type = SPAN_LITERAL("car");
        break;
    case UNATTACHED: break;
    case OTHER_ID:
        p.thing = SPAN_LITERAL("V2");
        p.thing_type = SPAN_LITERAL("car");
        break;
    case NOBODY: p = (struct cloud_principal){.peer = &bare}; break;
    }
    return p;
}

#define ID "abcd010000000000000000000000000000000000000000000000000000000000"
#define T  "${iot:Connection.Thing.ThingName}"

static const struct row {
    const char *statements;
    enum who who;
    enum cloud_action action;
    const char *name;
    enum cloud_decision expected;
} rows[] = {
    /* effects */
    {"A Publish topic/a", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_ALLOWED},
    {"A Publish topic/a", VEHICLE, CLOUD_ACTION_PUBLISH, "b", CLOUD_NOT_SAID},
    {"A Publish topic/a", VEHICLE, CLOUD_ACTION_PUBLISH, "aa", CLOUD_NOT_SAID},
    {"A Publish topic/aa", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_NOT_SAID},
    {"A Publish topic/a", VEHICLE, CLOUD_ACTION_PUBLISH, "", CLOUD_NOT_SAID},
    {"A Publish topic/a;D Publish topic/a", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_DENIED},
    {"D Publish topic/a;A Publish topic/a", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_DENIED},
    {"D Publish topic/a", VEHICLE, CLOUD_ACTION_PUBLISH, "b", CLOUD_NOT_SAID},
    {"A Publish topic/*;D Publish topic/a", VEHICLE, CLOUD_ACTION_PUBLISH, "b", CLOUD_ALLOWED},
    {"A Publish topic/b,topic/a", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_ALLOWED},
    {"A Publish topic/a;A Publish topic/b", VEHICLE, CLOUD_ACTION_PUBLISH, "b", CLOUD_ALLOWED},
    /* each action has its own kind of resource */
    {"A Connect client/V1", VEHICLE, CLOUD_ACTION_CONNECT, "V1", CLOUD_ALLOWED},
    {"A Connect topic/V1", VEHICLE, CLOUD_ACTION_CONNECT, "V1", CLOUD_NOT_SAID},
    {"A Publish client/a", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_NOT_SAID},
    {"A Publish topicfilter/a", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_NOT_SAID},
    {"A Subscribe topicfilter/a", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "a", CLOUD_ALLOWED},
    {"A Subscribe topic/a", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "a", CLOUD_NOT_SAID},
    {"A Receive topic/a", VEHICLE, CLOUD_ACTION_RECEIVE, "a", CLOUD_ALLOWED},
    {"A Publish topic/a", VEHICLE, CLOUD_ACTION_RECEIVE, "a", CLOUD_NOT_SAID},
    {"A Receive topic/a", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_NOT_SAID},
    {"A Publish topic/a", VEHICLE, CLOUD_ACTION_RETAIN_PUBLISH, "a", CLOUD_NOT_SAID},
    {"A RetainPublish topic/a", VEHICLE, CLOUD_ACTION_RETAIN_PUBLISH, "a", CLOUD_ALLOWED},
    {"A Publish thing/a", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_NOT_SAID},
    {"A GetThingShadow *", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_NOT_SAID},
    /* wildcards in actions */
    {"A * topic/a", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_ALLOWED},
    {"A * *", VEHICLE, CLOUD_ACTION_CONNECT, "V1", CLOUD_ALLOWED},
    {"A *Publish topic/a", VEHICLE, CLOUD_ACTION_RETAIN_PUBLISH, "a", CLOUD_ALLOWED},
    {"A P* topic/a", VEHICLE, CLOUD_ACTION_RETAIN_PUBLISH, "a", CLOUD_NOT_SAID},
    {"A Re?eive topic/a", VEHICLE, CLOUD_ACTION_RECEIVE, "a", CLOUD_ALLOWED},
    {"A publish topic/a", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_ALLOWED},
    {"A Publish,Subscribe topicfilter/a", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "a", CLOUD_ALLOWED},
    /* wildcards in names: '*' goes over '/', '?' is one character */
    {"A Publish topic/*", VEHICLE, CLOUD_ACTION_PUBLISH, "a/b/c", CLOUD_ALLOWED},
    {"A Publish topic/a/*", VEHICLE, CLOUD_ACTION_PUBLISH, "a/", CLOUD_ALLOWED},
    {"A Publish topic/a/*", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_NOT_SAID},
    {"A Publish topic/*/end", VEHICLE, CLOUD_ACTION_PUBLISH, "a/end/b/end", CLOUD_ALLOWED},
    {"A Publish topic/*/end", VEHICLE, CLOUD_ACTION_PUBLISH, "a/end/b", CLOUD_NOT_SAID},
    {"A Publish topic/a*b*c", VEHICLE, CLOUD_ACTION_PUBLISH, "abbcbc", CLOUD_ALLOWED},
    {"A Publish topic/a*b*c", VEHICLE, CLOUD_ACTION_PUBLISH, "acb", CLOUD_NOT_SAID},
    {"A Publish topic/a**b", VEHICLE, CLOUD_ACTION_PUBLISH, "ab", CLOUD_ALLOWED},
    {"A Publish topic/*aab", VEHICLE, CLOUD_ACTION_PUBLISH, "aaaaab", CLOUD_ALLOWED},
    {"A Publish topic/a?c", VEHICLE, CLOUD_ACTION_PUBLISH, "abc", CLOUD_ALLOWED},
    {"A Publish topic/a?c", VEHICLE, CLOUD_ACTION_PUBLISH, "a/c", CLOUD_ALLOWED},
    {"A Publish topic/a?c", VEHICLE, CLOUD_ACTION_PUBLISH, "ac", CLOUD_NOT_SAID},
    {"A Publish topic/??", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_NOT_SAID},
    {"A Publish topic/??", VEHICLE, CLOUD_ACTION_PUBLISH, "ab", CLOUD_ALLOWED},
    {"A Publish topic/*?b", VEHICLE, CLOUD_ACTION_PUBLISH, "b", CLOUD_NOT_SAID},
    {"A Publish topic/*?b", VEHICLE, CLOUD_ACTION_PUBLISH, "abb", CLOUD_ALLOWED},
    {"A Publish topic/A", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_NOT_SAID},
    /* MQTT's own wildcards are characters */
    {"A Subscribe topicfilter/a/+", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "a/+", CLOUD_ALLOWED},
    {"A Subscribe topicfilter/a/+", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "a/b", CLOUD_NOT_SAID},
    {"A Subscribe topicfilter/a/#", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "a/#", CLOUD_ALLOWED},
    {"A Subscribe topicfilter/a/#", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "a/b", CLOUD_NOT_SAID},
    {"A Subscribe topicfilter/a/*", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "a/#", CLOUD_ALLOWED},
    {"A Publish topic/a/#", VEHICLE, CLOUD_ACTION_PUBLISH, "a/b", CLOUD_NOT_SAID},
    /* characters that are wildcards otherwise */
    {"A Publish topic/a${*}", VEHICLE, CLOUD_ACTION_PUBLISH, "a*", CLOUD_ALLOWED},
    {"A Publish topic/a${*}", VEHICLE, CLOUD_ACTION_PUBLISH, "ab", CLOUD_NOT_SAID},
    {"A Publish topic/${?}${$}{x}", VEHICLE, CLOUD_ACTION_PUBLISH, "?${x}", CLOUD_ALLOWED},
    {"A Publish topic/$aws/a$", VEHICLE, CLOUD_ACTION_PUBLISH, "$aws/a$", CLOUD_ALLOWED},
    /* ARNs */
    {"A Publish *", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_ALLOWED},
    {"A Publish arn:aws:iot:*:*:topic/a", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_ALLOWED},
    {"A Publish arn:aws:iot:*:*:topic/a", VEHICLE, CLOUD_ACTION_PUBLISH, "b:topic/a", CLOUD_NOT_SAID},
    {"A Publish arn:aws-cn:iot:::topic/a", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_ALLOWED},
    {"A Publish arn:aws:iot:eu-central-1:1:*", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_ALLOWED},
    {"A Publish arn:aws:iot:eu-*", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_ALLOWED},
    {"A Publish arn:aws:iot:*:topic/a", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_ALLOWED},
    {"A Publish arn:aws:iot:*:topic/a", VEHICLE, CLOUD_ACTION_PUBLISH, "b", CLOUD_NOT_SAID},
    {"A Publish,Subscribe arn:aws:iot:r:a:topic*", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "x", CLOUD_ALLOWED},
    {"A Publish,Connect arn:aws:iot:r:a:topic*", VEHICLE, CLOUD_ACTION_CONNECT, "x", CLOUD_NOT_SAID},
    {"A Publish *:topic/a", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_ALLOWED},
    {"A Publish *:topic/a", VEHICLE, CLOUD_ACTION_PUBLISH, "ab", CLOUD_NOT_SAID},
    {"A Publish *:t?pic/a${iot:ClientId}", VEHICLE, CLOUD_ACTION_PUBLISH, "aV1", CLOUD_ALLOWED},
    /* variables */
    {"A Publish topic/${iot:ClientId}/x", VEHICLE, CLOUD_ACTION_PUBLISH, "V1/x", CLOUD_ALLOWED},
    {"A Publish topic/${iot:ClientId}/x", VEHICLE, CLOUD_ACTION_PUBLISH, "V2/x", CLOUD_NOT_SAID},
    {"A Publish topic/*${iot:ClientId}*", VEHICLE, CLOUD_ACTION_PUBLISH, "a/V/V1/b", CLOUD_ALLOWED},
    {"A Publish topic/${iot:SourceIp}", VEHICLE, CLOUD_ACTION_PUBLISH, "10.1.2.3", CLOUD_ALLOWED},
    {"A Publish topic/${aws:SourceIp}", VEHICLE, CLOUD_ACTION_PUBLISH, "10.1.2.4", CLOUD_NOT_SAID},
    {"A Connect client/" T, VEHICLE, CLOUD_ACTION_CONNECT, "V1", CLOUD_ALLOWED},
    {"A Connect client/" T, VEHICLE, CLOUD_ACTION_CONNECT, "V2", CLOUD_NOT_SAID},
    {"A Publish topic/" T "/" T, VEHICLE, CLOUD_ACTION_PUBLISH, "V1/V1", CLOUD_ALLOWED},
    {"A Publish topic/${iot:Connection.Thing.ThingTypeName}", VEHICLE, CLOUD_ACTION_PUBLISH, "car", CLOUD_ALLOWED},
    {"A Publish topic/${iot:Connection.Thing.IsAttached}", VEHICLE, CLOUD_ACTION_PUBLISH, "true", CLOUD_ALLOWED},
    {"A Publish topic/${iot:Connection.Thing.IsAttached}", UNATTACHED, CLOUD_ACTION_PUBLISH, "false", CLOUD_ALLOWED},
    {"A Publish topic/${iot:Connection.Thing.IsAttached}", OTHER_ID, CLOUD_ACTION_PUBLISH, "true", CLOUD_NOT_SAID},
    {"A Publish topic/${iot:Connection.Thing.Attributes[colour]}", VEHICLE, CLOUD_ACTION_PUBLISH, "red", CLOUD_ALLOWED},
    {"A Publish topic/${iot:Connection.Thing.Attributes[colour]}", OTHER_ID, CLOUD_ACTION_PUBLISH, "red",
     CLOUD_NOT_SAID},
    {"A Publish topic/${iot:Connection.Thing.Attributes[size]},topic/a", VEHICLE, CLOUD_ACTION_PUBLISH, "a",
     CLOUD_NOT_SAID},
    {"A Publish topic/a${iot:Connection.Thing.Attributes[empty]}", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_NOT_SAID},
    {"A Publish topic/${iot:CertificateId}", VEHICLE, CLOUD_ACTION_PUBLISH, ID, CLOUD_ALLOWED},
    {"A Publish topic/${iot:CertificateId}", NOBODY, CLOUD_ACTION_PUBLISH, ID, CLOUD_NOT_SAID},
    {"A Publish topic/${iot:Certificate.Subject.CommonName}", VEHICLE, CLOUD_ACTION_PUBLISH, "CN-1", CLOUD_ALLOWED},
    {"A Publish topic/${iot:Certificate.Subject.CommonName}", NOBODY, CLOUD_ACTION_PUBLISH, "unproven", CLOUD_NOT_SAID},
    {"A Publish topic/${iot:Certificate.Subject.CommonName}", NOBODY, CLOUD_ACTION_PUBLISH, "", CLOUD_NOT_SAID},
    /* what cannot be resolved: the statement is not there, whatever else it says */
    {"A Connect client/" T, UNATTACHED, CLOUD_ACTION_CONNECT, "V1", CLOUD_NOT_SAID},
    {"A Connect client/" T, OTHER_ID, CLOUD_ACTION_CONNECT, "V2", CLOUD_NOT_SAID},
    {"A Connect client/" T, OTHER_ID, CLOUD_ACTION_CONNECT, "V1", CLOUD_NOT_SAID},
    {"A Publish topic/a,topic/" T, VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_ALLOWED},
    {"A Publish topic/a,topic/" T, UNATTACHED, CLOUD_ACTION_PUBLISH, "a", CLOUD_NOT_SAID},
    {"A Publish topic/a,topic/${iot:Certificate.Issuer.CommonName}", VEHICLE, CLOUD_ACTION_PUBLISH, "a",
     CLOUD_NOT_SAID},
    {"A Publish topic/*;D Publish topic/" T, UNATTACHED, CLOUD_ACTION_PUBLISH, "V1", CLOUD_ALLOWED},
    {"A Publish topic/*;D Publish topic/" T, VEHICLE, CLOUD_ACTION_PUBLISH, "V1", CLOUD_DENIED},
    {"A Publish topic/${iot:ClientId}", NOBODY, CLOUD_ACTION_PUBLISH, "", CLOUD_NOT_SAID},
    {"A Publish topic/${nonsense}", VEHICLE, CLOUD_ACTION_PUBLISH, "${nonsense}", CLOUD_NOT_SAID},
    /* conditions */
    {"A Publish * if {\"Bool\":{\"iot:Connection.Thing.IsAttached\":\"true\"}}", VEHICLE, CLOUD_ACTION_PUBLISH, "a",
     CLOUD_ALLOWED},
    {"A Publish * if {\"Bool\":{\"iot:Connection.Thing.IsAttached\":[\"true\"]}}", OTHER_ID, CLOUD_ACTION_PUBLISH, "a",
     CLOUD_NOT_SAID},
    {"A Publish * if {\"Bool\":{\"iot:Connection.Thing.IsAttached\":false}}", UNATTACHED, CLOUD_ACTION_PUBLISH, "a",
     CLOUD_ALLOWED},
    {"D Publish * if {\"Bool\":{\"iot:Connection.Thing.IsAttached\":false}};A Publish *", OTHER_ID,
     CLOUD_ACTION_PUBLISH, "a", CLOUD_DENIED},
    {"A Publish * if {\"StringEquals\":{\"iot:ClientId\":[\"V0\",\"V1\"]}}", VEHICLE, CLOUD_ACTION_PUBLISH, "a",
     CLOUD_ALLOWED},
    {"A Publish * if {\"StringEquals\":{\"iot:ClientId\":\"V*\"}}", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_NOT_SAID},
    {"A Publish * if {\"StringLike\":{\"iot:ClientId\":\"V*\"}}", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_ALLOWED},
    {"A Publish * if {\"StringLike\":{\"iot:ClientId\":\"W*\"}}", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_NOT_SAID},
    {"A Publish * if {\"StringEquals\":{\"iot:ClientId\":\"" T "\"}}", VEHICLE, CLOUD_ACTION_PUBLISH, "a",
     CLOUD_ALLOWED},
    {"A Publish * if {\"StringEquals\":{\"iot:ClientId\":[\"V1\",\"" T "\"]}}", OTHER_ID, CLOUD_ACTION_PUBLISH, "a",
     CLOUD_NOT_SAID},
    {"A Publish * if {\"StringEquals\":{\"iot:Certificate.Subject.CommonName\":\"CN-1\"}}", VEHICLE,
     CLOUD_ACTION_PUBLISH, "a", CLOUD_ALLOWED},
    {"A Publish * if {\"StringEquals\":{\"iot:Connection.Thing.Attributes[colour]\":\"red\"}}", VEHICLE,
     CLOUD_ACTION_PUBLISH, "a", CLOUD_ALLOWED},
    {"A Publish * if {\"StringEquals\":{\"iot:Connection.Thing.Attributes[size]\":\"red\"}}", VEHICLE,
     CLOUD_ACTION_PUBLISH, "a", CLOUD_NOT_SAID},
    {"A Publish * if "
     "{\"StringLike\":{\"iot:ClientId\":[\"a${iot:Connection.Thing.Attributes[size]}\",\"*\"]}}",
     VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_NOT_SAID},
    {"A Publish * if {\"StringEquals\":{\"iot:ClientId\":\"V1\",\"iot:SourceIp\":\"10.9.9.9\"}}", VEHICLE,
     CLOUD_ACTION_PUBLISH, "a", CLOUD_NOT_SAID},
    {"A Publish * if "
     "{\"StringEquals\":{\"iot:ClientId\":\"V1\"},\"StringLike\":{\"iot:SourceIp\":\"10.1.*\"}}",
     VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_ALLOWED},
    {"A Publish * if {\"StringNotEquals\":{\"iot:ClientId\":[\"V0\",\"V1\"]}}", VEHICLE, CLOUD_ACTION_PUBLISH, "a",
     CLOUD_NOT_SAID},
    {"A Publish * if {\"StringNotLike\":{\"iot:ClientId\":\"W*\"}}", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_ALLOWED},
    {"A Publish * if {\"StringNotEquals\":{\"iot:Other\":\"x\"}}", VEHICLE, CLOUD_ACTION_PUBLISH, "a", CLOUD_NOT_SAID},
};

static void each_row(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const struct row *row = &rows[i];
        struct cloud_policy *policy = policy_make(row->statements);
        struct cloud_principal principal = principal_of(row->who);
        const struct cloud_policy *list = policy;
        enum cloud_decision decision = cloud_policy_decide(&list, 1, row->action, span_text(row->name), &principal);
        if (decision != row->expected)
            fail_msg("row %zu: %s, '%s': %d instead of %d", i, row->statements, row->name, decision, row->expected);
        cloud_policy_free(policy);
    }
}

static void several_policies_are_one(void **state)
{
    struct cloud_policy *allow = policy_make("A * *"), *deny = policy_make("D Publish topic/secret/${iot:ClientId}"),
                        *nothing = policy_make("A Connect client/x");
    struct cloud_principal principal = principal_of(VEHICLE);
    const struct cloud_policy *lists[][3] = {{allow, deny, nothing}, {deny, nothing, allow}, {nothing, allow, deny}};
    for (int i = 0; i < 3; i++) {
        const struct cloud_policy *const *list = lists[i];
        assert_int_equal(cloud_policy_decide(list, 3, CLOUD_ACTION_PUBLISH, SPAN_LITERAL("secret/V1"), &principal),
                         CLOUD_DENIED);
        assert_int_equal(cloud_policy_decide(list, 3, CLOUD_ACTION_PUBLISH, SPAN_LITERAL("open"), &principal),
                         CLOUD_ALLOWED);
    }
    assert_int_equal(cloud_policy_decide(NULL, 0, CLOUD_ACTION_PUBLISH, SPAN_LITERAL("a"), &principal), CLOUD_NOT_SAID);
    cloud_policy_free(allow);
    cloud_policy_free(deny);
    cloud_policy_free(nothing);
}

/* What is put in for a variable is text, not a pattern: a client id of "*" is nobody else. */
static void values_have_no_wildcards(void **state)
{
    struct cloud_policy *policy = policy_make("A Publish topic/a/${iot:ClientId}/b");
    const struct cloud_policy *list = policy;
    struct cloud_principal principal = {.client_id = SPAN_LITERAL("*")};
    assert_int_equal(cloud_policy_decide(&list, 1, CLOUD_ACTION_PUBLISH, SPAN_LITERAL("a/V1/b"), &principal),
                     CLOUD_NOT_SAID);
    assert_int_equal(cloud_policy_decide(&list, 1, CLOUD_ACTION_PUBLISH, SPAN_LITERAL("a/*/b"), &principal),
                     CLOUD_ALLOWED);
    principal.client_id = SPAN_LITERAL("${iot:SourceIp}");
    assert_int_equal(
        cloud_policy_decide(&list, 1, CLOUD_ACTION_PUBLISH, SPAN_LITERAL("a/${iot:SourceIp}/b"), &principal),
        CLOUD_ALLOWED);
    cloud_policy_free(policy);
}

/* By what the connection asks for; where it is not a connect, it asks for nothing. */
static void connect_attributes(void **state)
{
    static const struct {
        const char *condition;
        uint8_t allowed; /* a bit for each of: none, persistent, will, both */
        bool publish;
    } cases[] = {
        {"{\"ForAllValues:StringEquals\":{\"iot:ConnectAttributes\":[\"PersistentConnect\"]}}", 1 | 2, true},
        {"{\"ForAllValues:StringEquals\":{\"iot:ConnectAttributes\":[\"LastWill\"]}}", 1 | 4, true},
        {"{\"ForAllValues:StringEquals\":{\"iot:ConnectAttributes\":[\"LastWill\",\"PersistentConnect\"]}}", 15, true},
        {"{\"ForAnyValue:StringEquals\":{\"iot:ConnectAttributes\":\"LastWill\"}}", 4 | 8, false},
        {"{\"ForAnyValue:StringEquals\":{\"iot:ConnectAttributes\":[\"LastWill\",\"PersistentConnect\"]}}", 14, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char text[300];
        snprintf(text, sizeof(text), "A Connect,Publish * if %s", cases[i].condition);
        struct cloud_policy *policy = policy_make(text);
        const struct cloud_policy *list = policy;
        for (int way = 0; way < 4; way++) {
            struct cloud_principal principal = principal_of(VEHICLE);
            principal.persistent = way & 1;
            principal.last_will = way & 2;
            assert_int_equal(cloud_policy_decide(&list, 1, CLOUD_ACTION_CONNECT, principal.client_id, &principal) ==
                                 CLOUD_ALLOWED,
                             cases[i].allowed >> way & 1);
            assert_int_equal(cloud_policy_decide(&list, 1, CLOUD_ACTION_PUBLISH, SPAN_LITERAL("a"), &principal) ==
                                 CLOUD_ALLOWED,
                             cases[i].publish);
        }
        cloud_policy_free(policy);
    }
}

/* --- what is shipped --- */

static const struct {
    const char *policy;
    enum who who;
    enum cloud_action action;
    const char *name;
    bool allowed;
} shipped[] = {
    {"vehicle", VEHICLE, CLOUD_ACTION_CONNECT, "V1", true},
    {"vehicle", UNATTACHED, CLOUD_ACTION_CONNECT, "V1", false},
    {"vehicle", OTHER_ID, CLOUD_ACTION_CONNECT, "V1", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_CONNECT, "V2", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_PUBLISH, "dt/V1/telemetry", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_PUBLISH, "dt/V2/telemetry", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_PUBLISH, "dt/V11/telemetry", false},
    {"vehicle", UNATTACHED, CLOUD_ACTION_PUBLISH, "dt/V1/telemetry", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_PUBLISH, "cmd/V1/response", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_PUBLISH, "cmd/V2/request", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_PUBLISH, "vehicle/V1/certificate/deactivate", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_PUBLISH, "vehicle/V2/certificate/deactivate", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_PUBLISH, "vehicleactive/V1", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_PUBLISH, "vehicleactive/V1/x", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_PUBLISH, "presence/V1", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_RETAIN_PUBLISH, "presence/V1", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_RETAIN_PUBLISH, "dt/V1/telemetry", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_PUBLISH, "$aws/things/V1/jobs/start-next", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_PUBLISH, "$aws/things/V2/jobs/start-next", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_PUBLISH, "$aws/certificates/create-from-csr/json", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_PUBLISH, "$aws/certificates/create/json", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_PUBLISH, "$aws/provisioning-templates/rotation/provision/json", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_PUBLISH, "$aws/provisioning-templates/claim/provision/json", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_PUBLISH, "convoy/V1/things/V1/jobs/start-next", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_PUBLISH, "convoy/V1/certificates/create-from-csr/json", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_PUBLISH, "convoy/V1/provisioning-templates/rotation/provision/json", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_PUBLISH, "convoy/V2/certificates/create-from-csr/json", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "cmd/V1/request", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "cmd/+/request", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "cmd/V1/#", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "#", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "dt/V1/telemetry", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "$aws/things/V1/jobs/notify-next", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "$aws/things/V1/jobs/#", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "$aws/things/+/jobs/notify-next", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "$aws/certificates/create-from-csr/json/+", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "convoy/V1/provisioning-templates/rotation/provision/json/accepted",
     true},
    {"vehicle", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "convoy/V1/#", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "convoy/V2/#", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "convoy/#", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_RECEIVE, "convoy/V1/things/V1/jobs/notify-next", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_RECEIVE, "convoy/V1/anything", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_RECEIVE, "cmd/V1/request", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_RECEIVE, "cmd/V2/request", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_RECEIVE, "dt/V1/telemetry", false},
    {"vehicle", VEHICLE, CLOUD_ACTION_RECEIVE, "$aws/things/V1/jobs/notify-next", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_RECEIVE, "$aws/certificates/create-from-csr/json/accepted", true},
    {"vehicle", VEHICLE, CLOUD_ACTION_RECEIVE, "$aws/provisioning-templates/rotation/provision/json/rejected", true},
    {"claim", UNATTACHED, CLOUD_ACTION_CONNECT, "anybody", true},
    {"claim", UNATTACHED, CLOUD_ACTION_PUBLISH, "$aws/certificates/create/json", true},
    {"claim", UNATTACHED, CLOUD_ACTION_PUBLISH, "$aws/certificates/create-from-csr/json", true},
    {"claim", UNATTACHED, CLOUD_ACTION_RECEIVE, "$aws/certificates/create-from-csr/json/accepted", true},
    {"claim", UNATTACHED, CLOUD_ACTION_SUBSCRIBE, "$aws/certificates/create-from-csr/json/+", true},
    {"claim", UNATTACHED, CLOUD_ACTION_PUBLISH, "$aws/provisioning-templates/claim/provision/json", true},
    {"claim", UNATTACHED, CLOUD_ACTION_PUBLISH, "$aws/provisioning-templates/rotation/provision/json", false},
    {"claim", UNATTACHED, CLOUD_ACTION_PUBLISH, "convoy/V1/provisioning-templates/claim/provision/json", true},
    {"claim", UNATTACHED, CLOUD_ACTION_PUBLISH, "convoy/V2/provisioning-templates/claim/provision/json", false},
    {"claim", VEHICLE, CLOUD_ACTION_PUBLISH, "dt/V1/telemetry", false},
    {"claim", VEHICLE, CLOUD_ACTION_PUBLISH, "$aws/things/V1/jobs/start-next", false},
    {"claim", VEHICLE, CLOUD_ACTION_SUBSCRIBE, "#", false},
    {"claim", UNATTACHED, CLOUD_ACTION_SUBSCRIBE, "convoy/V1/#", true},
    {"claim", UNATTACHED, CLOUD_ACTION_SUBSCRIBE, "convoy/+/#", false},
    {"wide", NOBODY, CLOUD_ACTION_CONNECT, "anybody", true},
    {"wide", NOBODY, CLOUD_ACTION_PUBLISH, "dt/V1/telemetry", true},
    {"wide", NOBODY, CLOUD_ACTION_SUBSCRIBE, "#", true},
    {"wide", NOBODY, CLOUD_ACTION_RECEIVE, "$aws/things/V1/x", true},
    {"wide", NOBODY, CLOUD_ACTION_RETAIN_PUBLISH, "a", true},
};

static void what_is_shipped(void **state)
{
    for (size_t i = 0; i < sizeof(shipped) / sizeof(*shipped); i++) {
        struct cloud_policy *policy = policy_shipped(shipped[i].policy);
        const struct cloud_policy *list = policy;
        struct cloud_principal principal = principal_of(shipped[i].who);
        bool allowed =
            cloud_policy_decide(&list, 1, shipped[i].action, span_text(shipped[i].name), &principal) == CLOUD_ALLOWED;
        if (allowed != shipped[i].allowed)
            fail_msg("%s: %s is %s", shipped[i].policy, shipped[i].name, allowed ? "allowed" : "not allowed");
        cloud_policy_free(policy);
    }
    assert_null(cloud_policy_shipped("other"));
}

/* --- against a plain and slow matcher --- */

static bool slow(const char *pattern, const char *text)
{
    if (!*pattern)
        return !*text;
    if (*pattern == '*')
        return slow(pattern + 1, text) || (*text && slow(pattern, text + 1));
    return *text && (*pattern == '?' || *pattern == *text) && slow(pattern + 1, text + 1);
}

static void short_patterns_all(void **state)
{
    static const char letters[] = "ab?*";
    struct cloud_principal principal = {.client_id = SPAN_LITERAL("x")};
    for (unsigned number = 1; number < 1u << 10; number++) {
        char pattern[6] = "", text[40];
        for (unsigned i = 0; i < 5; i++)
            pattern[i] = letters[number >> 2 * i & 3];
        snprintf(text, sizeof(text), "A Publish topic/%s", pattern);
        struct cloud_policy *policy = policy_make(text);
        const struct cloud_policy *list = policy;
        for (unsigned length = 0; length <= 6; length++)
            for (unsigned word = 0; word < 1u << length; word++) {
                char name[8] = "";
                for (unsigned i = 0; i < length; i++)
                    name[i] = word >> i & 1 ? 'b' : 'a';
                bool allowed =
                    cloud_policy_decide(&list, 1, CLOUD_ACTION_PUBLISH, span_text(name), &principal) == CLOUD_ALLOWED;
                if (allowed != slow(pattern, name))
                    fail_msg("%s and %s: %d", pattern, name, allowed);
            }
        cloud_policy_free(policy);
    }
}

/* As bad as it gets: many stars, a long name that matches almost. It ends, and says no. */
static void the_worst_pattern(void **state)
{
    char text[1200] = "A Publish topic/";
    static char name[65000];
    for (int i = 0; i < 150; i++)
        strcat(text, "*aaaa");
    strcat(text, "*b");
    struct cloud_policy *policy = policy_make(text);
    const struct cloud_policy *list = policy;
    struct cloud_principal principal = {.client_id = SPAN_LITERAL("x")};
    memset(name, 'a', sizeof(name));
    assert_int_equal(cloud_policy_decide(&list, 1, CLOUD_ACTION_PUBLISH, span_of(name, sizeof(name)), &principal),
                     CLOUD_NOT_SAID);
    name[sizeof(name) - 1] = 'b';
    assert_int_equal(cloud_policy_decide(&list, 1, CLOUD_ACTION_PUBLISH, span_of(name, sizeof(name)), &principal),
                     CLOUD_ALLOWED);
    cloud_policy_free(policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_row),           cmocka_unit_test(several_policies_are_one),
                                       cmocka_unit_test(connect_attributes), cmocka_unit_test(values_have_no_wildcards),
                                       cmocka_unit_test(what_is_shipped),    cmocka_unit_test(short_patterns_all),
                                       cmocka_unit_test(the_worst_pattern)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
