/* Documents: what is wrong with them in one line, what remains of them, and what an audit finds. */
#include "tests/unit/policy_rig.h"

#include "memory.h"

#define STATEMENT(more) "{\"Version\":\"2012-10-17\",\"Statement\":[{" more "}]}"
#define ALL             "\"Effect\":\"Allow\",\"Action\":\"iot:*\",\"Resource\":\"*\""
#define ARN             "arn:aws:iot:eu-central-1:123456789012:"

static const struct {
    const char *document, *error;
} wrong[] = {
    {"", "the document is empty"},
    {"{", "line 1, column 1: not JSON"},
    {"{\n  \"Version\": \"2012-10-17\",\n  \"Statement\" [\n", "line 3, column 15: not JSON"},
    {"[]", "a policy is an object with Version and Statement"},
    {"{} x", "line 1, column 4: more after the end of the policy"},
    {"{\"Statement\":[{" ALL "}]}", "Version: \"2012-10-17\""},
    {"{\"Version\":\"2012-10-18\",\"Statement\":[{" ALL "}]}", "Version: \"2012-10-17\""},
    {"{\"Version\":\"2012-10-17\"}", "Statement: an array of statements"},
    {"{\"Version\":\"2012-10-17\",\"Statement\":[]}", "Statement: an array of statements"},
    {"{\"Version\":\"2012-10-17\",\"Statement\":["
     "{" ALL "},7]}",
     "statement 2: an object with Effect, Action and Resource"},
    {"{\"Version\":\"2012-10-17\",\"Statements\":[]}", "Statements is not supported"},
    {"{\"Version\":\"2012-10-17\",\"Version\":\"2012-10-17\",\"Statement\":[{" ALL "}]}", "Version twice"},
    {STATEMENT("\"NotAction\":\"iot:Publish\",\"Effect\":\"Allow\",\"Resource\":\"*\""),
     "statement 1: NotAction is not supported"},
    {STATEMENT("\"Action\":\"iot:Publish\",\"Effect\":\"Allow\",\"NotResource\":\"*\""),
     "statement 1: NotResource is not supported"},
    {STATEMENT("\"Principal\":\"*\"," ALL), "statement 1: Principal is not supported"},
    {STATEMENT("\"Effect\":\"Allow\"," ALL), "statement 1: Effect twice"},
    {STATEMENT("\"Effect\":\"allow\",\"Action\":\"iot:*\",\"Resource\":\"*\""), "statement 1: Effect: Allow or Deny"},
    {STATEMENT("\"Action\":\"iot:*\",\"Resource\":\"*\""), "statement 1: Effect: Allow or Deny"},
    {STATEMENT("\"Effect\":\"Deny\",\"Resource\":\"*\""), "statement 1: Action: a string or an array of strings"},
    {STATEMENT("\"Effect\":\"Deny\",\"Action\":[],\"Resource\":\"*\""),
     "statement 1: Action: a string or an array of strings"},
    {STATEMENT("\"Effect\":\"Deny\",\"Action\":\"iot:*\",\"Resource\":[\"*\",7]"),
     "statement 1: Resource: a string or an array of strings"},
    {STATEMENT("\"Effect\":\"Deny\",\"Action\":\"iot:*\""), "statement 1: Resource: a string or an array of strings"},
    {"{\"Version\":\"2012-10-17\",\"Statement\":[{" ALL
     "},{\"Effect\":\"Deny\",\"Action\":\"iot:Foo\",\"Resource\":\"*\"}]}",
     "statement 2: unknown action 'iot:Foo'"},
    {STATEMENT("\"Effect\":\"Deny\",\"Action\":\"s3:Get\",\"Resource\":\"*\""),
     "statement 1: unknown action 's3:Get': iot:..."},
    {STATEMENT("\"Effect\":\"Deny\",\"Action\":\"iot:Foo*\",\"Resource\":\"*\""),
     "statement 1: unknown action 'iot:Foo*'"},
    {STATEMENT("\"Effect\":\"Deny\",\"Action\":\"iot:a\\nb\",\"Resource\":\"*\""),
     "statement 1: unknown action 'iot:a?b'"},
    {STATEMENT("\"Effect\":\"Deny\",\"Action\":\"iot:*\",\"Resource\":\"topic/a\""),
     "statement 1: resource 'topic/a' is no ARN: arn:aws:iot:<region>:<account>:topic/..."},
    {STATEMENT("\"Effect\":\"Deny\",\"Action\":\"iot:*\",\"Resource\":\"arn:aws:s3:::bucket\""),
     "statement 1: resource 'arn:aws:s3:::bucket' is not one of iot"},
    {STATEMENT("\"Effect\":\"Deny\",\"Action\":\"iot:*\",\"Resource\":\"arn:aws:iot:eu:topic/a\""),
     "statement 1: resource 'arn:aws:iot:eu:topic/a' is cut: arn:aws:iot:<region>:<account>:topic/..."},
    {STATEMENT("\"Effect\":\"Deny\",\"Action\":\"iot:*\",\"Resource\":\"" ARN "topics/a\""),
     "statement 1: unknown resource type 'topics': client, topic or topicfilter"},
    {STATEMENT("\"Effect\":\"Deny\",\"Action\":\"iot:*\",\"Resource\":\"" ARN "topic\""),
     "statement 1: resource '" ARN "topic' has no name: client/, topic/ or topicfilter/ and what"},
    {STATEMENT("\"Effect\":\"Deny\",\"Action\":\"iot:*\",\"Resource\":\"" ARN "topic/${iot:ClientId\""),
     "statement 1: '${' without '}' in '${iot:ClientId'"},
    {STATEMENT("\"Effect\":\"Deny\",\"Action\":\"iot:*\",\"Resource\":\"" ARN "topic/a\\u0000b\""),
     "line 1, column 129: a NUL character"},
    {STATEMENT(ALL ",\"Condition\":[]"), "statement 1: Condition: an object"},
    {STATEMENT(ALL ",\"Condition\":{\"IpAddress\":{\"iot:SourceIp\":\"10.0.0.0/8\"}}"),
     "statement 1: condition 'IpAddress' is not supported"},
    {STATEMENT(ALL ",\"Condition\":{\"StringEquals\":\"a\"}"),
     "statement 1: condition StringEquals: an object of keys and values"},
    {STATEMENT(ALL ",\"Condition\":{\"StringEquals\":{\"iot:ClientId\":7}}"),
     "statement 1: iot:ClientId: a string or an array of strings"},
    {STATEMENT(ALL ",\"Condition\":{\"StringEquals\":{\"iot:ConnectAttributes\":\"LastWill\"}}"),
     "statement 1: condition StringEquals: iot:ConnectAttributes wants ForAllValues: or ForAnyValue:"},
    {STATEMENT(ALL ",\"Condition\":{\"ForAllValues:StringEquals\":{\"iot:ConnectAttributes\":\"Will\"}}"),
     "statement 1: iot:ConnectAttributes: 'PersistentConnect' or 'LastWill', not 'Will'"},
    {STATEMENT(ALL ",\"Condition\":{\"ForAllValues:StringEquals\":{\"iot:ClientId\":\"V\"}}"),
     "statement 1: condition ForAllValues:StringEquals: the key iot:ConnectAttributes, not 'iot:ClientId'"},
    {STATEMENT(ALL ",\"Condition\":{\"Bool\":{\"iot:ClientId\":\"true\"}}"),
     "statement 1: condition Bool: the key iot:Connection.Thing.IsAttached, not 'iot:ClientId'"},
    {STATEMENT(ALL ",\"Condition\":{\"Bool\":{\"iot:Connection.Thing.IsAttached\":\"yes\"}}"),
     "statement 1: condition Bool: 'true' or 'false', not 'yes'"},
};

static void what_is_wrong_in_one_line(void **state)
{
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        char error[200] = "";
        struct cloud_policy *policy = cloud_policy_compile(span_text(wrong[i].document), error, sizeof(error));
        if (policy || strcmp(error, wrong[i].error) != 0)
            fail_msg("%s\n  got:      %s\n  expected: %s", wrong[i].document, policy ? "no error" : error,
                     wrong[i].error);
    }
}

static void forms_that_are_right(void **state)
{
    static const char *const documents[] = {
        " {\"Version\":\"2012-10-17\",\"Id\":\"x\",\"Statement\":{\"Sid\":\"one\"," ALL "}} \n",
        STATEMENT("\"Effect\":\"Allow\",\"Action\":[\"iot:UpdateThingShadow\",\"iot:AssumeRoleWithCertificate\"],"
                  "\"Resource\":[\"" ARN "thing/a\",\"" ARN "rolealias/b\"]"),
        STATEMENT(ALL ",\"Condition\":{}"),
    };
    for (size_t i = 0; i < sizeof(documents) / sizeof(*documents); i++) {
        char error[200] = "";
        struct span document = span_text(documents[i]);
        struct cloud_policy *policy = cloud_policy_compile(document, error, sizeof(error));
        if (!policy)
            fail_msg("%s: %s", documents[i], error);
        assert_true(span_equal(cloud_policy_document(policy), document));
        assert_ptr_not_equal(cloud_policy_document(policy).data, document.data);
        cloud_policy_free(policy);
    }
}

static void a_document_has_2048_bytes_at_most(void **state)
{
    static const char start[] = STATEMENT(ALL);
    char document[CLOUD_POLICY_DOCUMENT_MAX + 1], error[200] = "";
    memset(document, ' ', sizeof(document));
    memcpy(document, start, sizeof(start) - 1);
    struct cloud_policy *policy =
        cloud_policy_compile(span_of(document, CLOUD_POLICY_DOCUMENT_MAX), error, sizeof(error));
    assert_non_null(policy);
    cloud_policy_free(policy);
    assert_null(cloud_policy_compile(span_of(document, sizeof(document)), error, sizeof(error)));
    assert_string_equal(error, "the document has 2049 bytes, more than 2048");
}

/* As many parts as fit; each says what it says. */
static void the_fullest_documents(void **state)
{
    static const char *const unit[] = {"{\"Effect\":\"Deny\",\"Action\":\"*\",\"Resource\":\"*\"}", "\"*\"",
                                       "\"*:${*}?${a}?\"", "\"arn:::::topic/?*?*?*?*\""};
    for (size_t kind = 0; kind < sizeof(unit) / sizeof(*unit); kind++) {
        char document[CLOUD_POLICY_DOCUMENT_MAX + 64], error[200] = "";
        const char *end = kind ? "]}]}" : "]}";
        size_t length = (size_t)snprintf(document, sizeof(document), "{\"Version\":\"2012-10-17\",\"Statement\":[%s",
                                         kind ? "{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":[" : "");
        for (bool first = true; length + strlen(unit[kind]) + 1 + strlen(end) <= CLOUD_POLICY_DOCUMENT_MAX;
             first = false)
            length += (size_t)sprintf(document + length, "%s%s", first ? "" : ",", unit[kind]);
        length += (size_t)sprintf(document + length, "%s", end);
        struct cloud_policy *policy = cloud_policy_compile(span_of(document, length), error, sizeof(error));
        if (!policy && strncmp(error, "statement 1: resource 'arn:", 27) != 0)
            fail_msg("%s: %s", unit[kind], error);
        const struct cloud_policy *list = policy;
        struct cloud_principal principal = {.client_id = SPAN_LITERAL("x")};
        if (policy)
            assert_int_equal(cloud_policy_decide(&list, 1, CLOUD_ACTION_PUBLISH, SPAN_LITERAL("abc"), &principal),
                             kind == 0   ? CLOUD_DENIED
                             : kind == 1 ? CLOUD_ALLOWED
                                         : CLOUD_NOT_SAID);
        cloud_policy_free(policy);
    }
}

/* Cut anywhere, or with any character another one: a policy or an error of one line, never anything else. */
static void damaged_documents(void **state)
{
    static const char whole[] =
        STATEMENT("\"Effect\":\"Allow\",\"Action\":[\"iot:Pub*\"],\"Resource\":[\"" ARN "topic/${iot:ClientId}/*?\"],"
                  "\"Condition\":{\"StringLike\":{\"iot:ClientId\":[\"a*\",\"${*}\"]},"
                  "\"ForAnyValue:StringEquals\":{\"iot:ConnectAttributes\":[\"LastWill\"]}}");
    static const char others[] = "\"{}[]:,*?$\\ a\n";
    size_t length = sizeof(whole) - 1;
    for (size_t at = 0; at < length; at++)
        for (size_t other = 0; other < sizeof(others); other++) {
            char *document = malloc(length), error[100] = "";
            memcpy(document, whole, length);
            document[at] = others[other];
            size_t used = other ? length : at; /* the first time it is cut */
            struct cloud_policy *policy = cloud_policy_compile(span_of(document, used), error, sizeof(error));
            assert_true(policy || (error[0] && !strchr(error, '\n')));
            assert_true(other || !policy);
            const struct cloud_policy *list = policy;
            struct cloud_principal principal = {.client_id = SPAN_LITERAL("a1"), .last_will = true};
            if (policy) {
                cloud_policy_audit(policy);
                cloud_policy_decide(&list, 1, CLOUD_ACTION_PUBLISH, SPAN_LITERAL("a1/x"), &principal);
            }
            cloud_policy_free(policy);
            free(document);
        }
}

static const struct {
    const char *statements;
    uint32_t findings;
} audits[] = {
    {"A * *", CLOUD_POLICY_BROAD_ACCESS},
    {"A Publish topic/*", CLOUD_POLICY_BROAD_ACCESS},
    {"A Publish topic/dt/*", CLOUD_POLICY_BROAD_ACCESS},
    {"A Publish topic/dt/*/telemetry", CLOUD_POLICY_BROAD_ACCESS},
    {"A Receive topic/$aws/things/*", CLOUD_POLICY_BROAD_ACCESS},
    {"A Receive arn:aws:iot:r:a:topic*", CLOUD_POLICY_BROAD_ACCESS},
    {"A Subscribe topicfilter/*", CLOUD_POLICY_BROAD_ACCESS},
    {"A Subscribe topicfilter/#", CLOUD_POLICY_BROAD_ACCESS},
    {"A Subscribe topicfilter/dt/+/telemetry", CLOUD_POLICY_BROAD_ACCESS},
    {"A RetainPublish topic/?*", CLOUD_POLICY_BROAD_ACCESS},
    {"A Publish topic/x;A Receive topic/*${iot:ClientId}", CLOUD_POLICY_BROAD_ACCESS},
    {"A Publish topic/dt/${iot:ClientId}/*", 0},
    {"A Publish topic/${iot:ClientId}/*", 0},
    {"A Publish topic/dt/V1/*", 0},
    {"A Publish topic/a+b/#", 0},
    {"A Subscribe topicfilter/dt/V1/+", 0},
    {"A Publish topic/$aws/certificates/create*", 0},
    {"A Connect client/*", 0},
    {"A Publish topicfilter/*", 0},
    {"A GetThingShadow *", 0},
    {"D * *", 0},
    {"D Subscribe topicfilter/building/#", CLOUD_POLICY_MQTT_WILDCARD_IN_DENY},
    {"D Receive topic/building/+/x", CLOUD_POLICY_MQTT_WILDCARD_IN_DENY},
    {"D Connect client/a+", 0},
    {"A Subscribe topicfilter/b/c/*;D Subscribe topicfilter/b/c/control/*", CLOUD_POLICY_DENY_EVADED},
    {"D Subscribe topicfilter/b/c/control/*;A Subscribe topicfilter/b/c/*", CLOUD_POLICY_DENY_EVADED},
    {"A Subscribe topicfilter/b/c/*;D Subscribe topicfilter/b/c/control/*;D Receive topic/b/c/control/*", 0},
    {"A Subscribe topicfilter/b/c/*;D Subscribe topicfilter/b/c/control/*;D Receive topic/b/c/other/*",
     CLOUD_POLICY_DENY_EVADED},
    {"A Subscribe topicfilter/b/c/*;D Subscribe topicfilter/x/*", 0},
    {"A Subscribe topicfilter/b/c/d;D Subscribe topicfilter/b/c/*", 0},
    {"A Publish topic/b/c/*;D Subscribe topicfilter/b/c/*", 0},
    {"A * *;D Subscribe topicfilter/secret/#;D Subscribe topicfilter/secret/*",
     CLOUD_POLICY_BROAD_ACCESS | CLOUD_POLICY_MQTT_WILDCARD_IN_DENY | CLOUD_POLICY_DENY_EVADED},
};

static void what_an_audit_finds(void **state)
{
    for (size_t i = 0; i < sizeof(audits) / sizeof(*audits); i++) {
        struct cloud_policy *policy = policy_make(audits[i].statements);
        uint32_t findings = cloud_policy_audit(policy);
        if (findings != audits[i].findings)
            fail_msg("%s: %u instead of %u", audits[i].statements, findings, audits[i].findings);
        cloud_policy_free(policy);
    }
    static const struct {
        const char *name;
        uint32_t findings;
    } shipped[] = {{"vehicle", 0}, {"claim", 0}, {"wide", CLOUD_POLICY_BROAD_ACCESS}};
    for (size_t i = 0; i < 3; i++) {
        struct cloud_policy *policy = policy_shipped(shipped[i].name);
        assert_int_equal(cloud_policy_audit(policy), shipped[i].findings);
        cloud_policy_free(policy);
    }
}

/* One block of the heap entered, and none when it failed. */
static void memory_of_a_policy(void **state)
{
    char error[100];
    assert_true(memory_begin(0));
    struct memory_heap *heap = memory_heap_create();
    memory_enter(heap);
    uint64_t before = memory_heap_bytes(heap);
    assert_null(cloud_policy_compile(SPAN_LITERAL("{}"), error, sizeof(error)));
    assert_int_equal(memory_heap_bytes(heap), before);
    struct cloud_policy *policy = policy_shipped("vehicle");
    uint64_t size = memory_heap_bytes(heap) - before;
    assert_true(size > 0 && size <= 16384);
    cloud_policy_free(policy);
    memory_enter(NULL);
    memory_heap_destroy(heap);
    memory_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_wrong_in_one_line),
                                       cmocka_unit_test(forms_that_are_right),
                                       cmocka_unit_test(a_document_has_2048_bytes_at_most),
                                       cmocka_unit_test(the_fullest_documents),
                                       cmocka_unit_test(damaged_documents),
                                       cmocka_unit_test(what_an_audit_finds),
                                       cmocka_unit_test(memory_of_a_policy)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
