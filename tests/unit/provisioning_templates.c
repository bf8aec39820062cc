/* Templates: what they come to, and every line that says why one is none. */
#include "provisioning_rig.h"

#define THING       "\"thing\":{\"Type\":\"AWS::IoT::Thing\",\"Properties\":{\"ThingName\":{\"Ref\":\"reference\"}}}"
#define CERTIFICATE "\"certificate\":{\"Type\":\"AWS::IoT::Certificate\",\"Properties\":{\"CertificateId\":" ID "}}"
#define ID          "{\"Ref\":\"AWS::IoT::Certificate::Id\"}"
#define PARAMETERS  "\"Parameters\":{\"reference\":{\"Type\":\"String\"}}"
#define DOCUMENT    "{" PARAMETERS ",\"Resources\":{" THING "," CERTIFICATE "}}"

static bool put(struct rig *rig, const char *name, const char *body, char *error)
{
    error[0] = 0;
    bool good = cloud_provisioning_template(rig->provisioning, name, span_text(body), error, 200);
    assert_int_equal(good, error[0] == 0);
    assert_null(strchr(error, '\n'));
    return good;
}

/* A vehicle goes through `name`; the outcome is in rig. */
static void go(struct rig *rig, const struct identity *claim, const char *name, const char *car, const char *parameters,
               const char *ending, struct cloud_certificate *made)
{
    char csr[200], token[129], body[600], topic[120];
    rig_ask(rig, 0, &claim->peer, car, CREATE_CSR, rig_csr(rig, car, csr, sizeof csr), "accepted");
    rig_issued(rig, car, made, token);
    snprintf(body, sizeof body, "{\"certificateOwnershipToken\":\"%s\",\"parameters\":%s}", token, parameters);
    snprintf(topic, sizeof topic, "provisioning-templates/%s/provision/json", name);
    rig_ask(rig, 0, &claim->peer, car, topic, body, ending);
}

static void a_whole_one(void **state)
{
    static const char body[] =
        "{\"Parameters\":{\"reference\":{\"Type\":\"String\"},\"region\":{\"Type\":\"String\",\"Default\":\"eu\"},"
        "\"AWS::IoT::Certificate::Id\":{\"Type\":\"String\"}},"
        "\"Resources\":{\"t\":{\"Type\":\"AWS::IoT::Thing\",\"Properties\":{"
        "\"ThingName\":{\"Fn::Join\":[\"\",[\"Vehicle_\",{\"Ref\":\"reference\"}]]},"
        "\"AttributePayload\":{\"region\":{\"Ref\":\"region\"},\"kind\":\"car\"},"
        "\"ThingTypeName\":\"vehicle\",\"ThingGroups\":[\"all\",{\"Ref\":\"region\"}]},"
        "\"OverrideSettings\":{\"AttributePayload\":\"MERGE\",\"ThingTypeName\":\"REPLACE\",\"ThingGroups\":\"DO_"
        "NOTHING\"}},"
        "\"c\":{\"Type\":\"AWS::IoT::Certificate\",\"Properties\":{\"CertificateId\":" ID ",\"Status\":\"Inactive\"}},"
        "\"p\":{\"Type\":\"AWS::IoT::Policy\",\"Properties\":{\"PolicyName\":{\"Fn::Join\":[\"-\",[\"vehicle\",{"
        "\"Ref\":\"region\"}]]}}}},"
        "\"DeviceConfiguration\":{\"region\":{\"Ref\":\"region\"},\"fallback\":\"https://example.com/\","
        "\"line\":\"a\\nb\\\"c\\\\\",\"id\":{\"Fn::Join\":[\"/\",[{\"Ref\":\"AWS::IoT::Certificate::CommonName\"}," ID
        ",\"end\"]]}}}";
    struct rig rig;
    struct identity claim;
    struct cloud_certificate made;
    char error[200], wanted[500], hex[65], thing[64];
    rig_open(&rig, true, false, (struct cloud_provisioning_options){0});
    rig_identity(&rig, CLOUD_CA_CLAIM, "lot", &claim);
    uint64_t before = cloud_provisioning_bytes(rig.provisioning);
    if (!put(&rig, "vehicles", body, error))
        fail_msg("%s", error);
    assert_true(cloud_provisioning_bytes(rig.provisioning) < before + 1024);

    go(&rig, &claim, "vehicles", "Vehicle_1", "{\"reference\":\"1\"}", "accepted", &made);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", made.id[i]);
    snprintf(wanted, sizeof wanted,
             "{\"deviceConfiguration\":{\"region\":\"eu\",\"fallback\":\"https://example.com/\","
             "\"line\":\"a\\nb\\\"c\\\\\",\"id\":\"Vehicle_1/%s/end\"},\"thingName\":\"Vehicle_1\"}",
             hex);
    assert_string_equal(rig.payload, wanted);
    assert_string_equal(rig.last_policy, "vehicle-eu");
    assert_int_equal(cloud_registry_status(rig.registry, made.id), CLOUD_CERTIFICATE_INACTIVE);
    assert_true(cloud_registry_thing_of(rig.registry, made.id, thing));
    assert_string_equal(thing, "Vehicle_1");
    go(&rig, &claim, "vehicles", "Vehicle_2", "{\"reference\":\"2\",\"region\":\"us\",\"more\":\"ignored\"}",
       "accepted", &made);
    assert_string_equal(rig.last_policy, "vehicle-us");

    /* A new version of the same name takes its place; the shipped ones can be replaced, too. */
    assert_true(put(&rig, "vehicles", DOCUMENT, error));
    assert_true(put(&rig, "claim", DOCUMENT, error));
    assert_true(put(&rig, "vehicles", DOCUMENT, error));
    go(&rig, &claim, "vehicles", "car-3", "{\"reference\":\"car-3\"}", "accepted", &made);
    assert_int_equal(cloud_registry_status(rig.registry, made.id), CLOUD_CERTIFICATE_ACTIVE);
    assert_string_equal(rig.payload, "{\"deviceConfiguration\":{},\"thingName\":\"car-3\"}");
    assert_string_equal(rig.last_policy, "");
    go(&rig, &claim, "claim", "car-4", "{\"reference\":\"car-4\"}", "accepted", &made);
    rig_close(&rig);
}

static void only_new_things(void **state)
{
    struct rig rig;
    struct identity claim;
    struct cloud_certificate made;
    char error[200];
    rig_open(&rig, true, false, (struct cloud_provisioning_options){0});
    rig_identity(&rig, CLOUD_CA_CLAIM, "lot", &claim);
    assert_true(put(&rig, "fresh",
                    "{" PARAMETERS ",\"Resources\":{" CERTIFICATE
                    ",\"t\":{\"Type\":\"AWS::IoT::Thing\",\"Properties\":{\"ThingName\":{\"Ref\":\"reference\"}},"
                    "\"OverrideSettings\":{\"AttributePayload\":\"FAIL\"}}}}",
                    error));
    go(&rig, &claim, "fresh", "car-1", "{\"reference\":\"car-1\"}", "accepted", &made);
    go(&rig, &claim, "fresh", "car-1", "{\"reference\":\"car-1\"}", "rejected", &made);
    rig_refused(&rig, 409, "ResourceConflict");
    rig_close(&rig);
}

static void what_is_none(void **state)
{
    static const struct {
        const char *body, *why;
    } cases[] = {
        {"", "JSON"},
        {"[]", "JSON"},
        {"{\"Parameters\":{}", "JSON"},
        {"{}", "AWS::IoT::Thing"},
        {"{\"Mappings\":{}}", "Mappings"},
        {"{\"Parameters\":7,\"Resources\":{}}", "Parameters"},
        {"{\"Parameters\":{\"a\":{\"Type\":\"Number\"}}}", "String"},
        {"{\"Parameters\":{\"a\":{\"Type\":\"String\",\"Default\":1}}}", "Default"},
        {"{\"Parameters\":{\"AWS::IoT::Certificate::Country\":{\"Type\":\"String\"}}}", "Country"},
        {"{" PARAMETERS ",\"Resources\":{" THING "}}", "AWS::IoT::Certificate"},
        {"{" PARAMETERS ",\"Resources\":{" CERTIFICATE "}}", "AWS::IoT::Thing"},
        {"{\"Resources\":{" THING "," CERTIFICATE "}}", "reference"},
        {"{" PARAMETERS ",\"Resources\":{" THING "," THING "," CERTIFICATE "}}", "one thing"},
        {"{" PARAMETERS ",\"Resources\":{" THING "," CERTIFICATE "," CERTIFICATE "}}", "one thing"},
        {"{" PARAMETERS ",\"Resources\":{" THING "," CERTIFICATE "},\"DeviceConfiguration\":[]}",
         "DeviceConfiguration"},
        {"{" PARAMETERS ",\"Resources\":{" THING "," CERTIFICATE "},\"DeviceConfiguration\":{\"a\":1}}", ".a"},
        {"{" PARAMETERS ",\"Resources\":{" THING "," CERTIFICATE
         "},\"DeviceConfiguration\":{\"a\":{\"Fn::Join\":[\"\",[]]}}}",
         "Fn::Join"},
        {"{" PARAMETERS ",\"Resources\":{" THING "," CERTIFICATE
         "},\"DeviceConfiguration\":{\"a\":{\"Fn::Join\":\"x\"}}}",
         "Fn::Join"},
        {"{" PARAMETERS ",\"Resources\":{" THING "," CERTIFICATE
         "},\"DeviceConfiguration\":{\"a\":{\"Fn::Join\":[\"\",[{\"Ref\":\"none\"}]]}}}",
         "none"},
        {"{" PARAMETERS ",\"Resources\":{" THING "," CERTIFICATE
         ",\"p\":{\"Type\":\"AWS::IoT::Policy\",\"Properties\":{\"PolicyDocument\":\"{}\"}}}}",
         "PolicyName"},
        {"{" PARAMETERS ",\"Resources\":{" THING ",\"c\":{\"Type\":\"AWS::IoT::Certificate\",\"Properties\":{}}}}",
         "CertificateId"},
        {"{" PARAMETERS ",\"Resources\":{" THING
         ",\"c\":{\"Type\":\"AWS::IoT::Certificate\",\"Properties\":{\"CertificateId\":" ID
         ",\"Status\":\"REVOKED\"}}}}",
         "Status"},
        {"{" PARAMETERS ",\"Resources\":{" CERTIFICATE
         ",\"t\":{\"Type\":\"AWS::IoT::Thing\",\"Properties\":{\"ThingName\":\"x\",\"Colour\":\"red\"}}}}",
         "Colour"},
        {"{" PARAMETERS ",\"Resources\":{" CERTIFICATE
         ",\"t\":{\"Type\":\"AWS::IoT::Thing\",\"Properties\":{\"ThingName\":\"x\"},"
         "\"OverrideSettings\":{\"ThingTypeName\":\"MERGE\"}}}}",
         "OverrideSettings"},
        {"{" PARAMETERS ",\"Resources\":{" THING "," CERTIFICATE ",\"x\":{\"Type\":\"AWS::S3::Bucket\"}}}", "Type"},
    };
    struct rig rig;
    char error[200], big[CLOUD_TEMPLATE_BODY_MAX + 100];
    rig_open(&rig, true, false, (struct cloud_provisioning_options){0});
    uint64_t before = cloud_provisioning_bytes(rig.provisioning);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_false(put(&rig, "one", cases[i].body, error));
        if (!strstr(error, cases[i].why))
            fail_msg("case %zu: %s", i, error);
    }
    memset(big, ' ', sizeof big);
    memcpy(big, DOCUMENT, sizeof DOCUMENT - 1);
    big[CLOUD_TEMPLATE_BODY_MAX + 1] = 0;
    assert_false(put(&rig, "one", big, error));
    assert_non_null(strstr(error, "10240"));
    assert_false(put(&rig, "", DOCUMENT, error));
    assert_false(put(&rig, "a/b", DOCUMENT, error));
    assert_false(put(&rig, "0123456789012345678901234567890123456", DOCUMENT, error));
    assert_int_equal(cloud_provisioning_bytes(rig.provisioning), before);
    big[CLOUD_TEMPLATE_BODY_MAX] = 0;
    assert_true(put(&rig, "012345678901234567890123456789012345", big, error));
    assert_null(cloud_template_shipped("vehicle"));
    for (size_t length = 0; length < strlen(DOCUMENT); length++) /* cut short anywhere */
        assert_false(cloud_provisioning_template(rig.provisioning, "cut", span_of(DOCUMENT, length), error, 200));
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_one),
        cmocka_unit_test(only_new_things),
        cmocka_unit_test(what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
