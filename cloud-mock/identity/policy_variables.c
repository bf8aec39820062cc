/* policy_variables.c: the names of what a policy document can ask about whoever is connected (cloud-contract 7). */
#include "policy_internal.h"

enum policy_variable policy_variable_of(struct span name, struct span *attribute)
{
    static const struct {
        struct span name;
        enum policy_variable variable;
    } known[] = {
        {SPAN_LITERAL("iot:ClientId"), POLICY_CLIENT_ID},
        {SPAN_LITERAL("iot:SourceIp"), POLICY_SOURCE_IP},
        {SPAN_LITERAL("aws:SourceIp"), POLICY_SOURCE_IP},
        {SPAN_LITERAL("iot:Connection.Thing.ThingName"), POLICY_THING_NAME},
        {SPAN_LITERAL("iot:Connection.Thing.ThingTypeName"), POLICY_THING_TYPE},
        {SPAN_LITERAL("iot:Connection.Thing.IsAttached"), POLICY_IS_ATTACHED},
        {SPAN_LITERAL("iot:CertificateId"), POLICY_CERTIFICATE_ID},
        {SPAN_LITERAL("iot:Certificate.Subject.CommonName"), POLICY_COMMON_NAME},
    };
    static const struct span prefix = {(const uint8_t *)"iot:Connection.Thing.Attributes[", 32};
    *attribute = (struct span){NULL, 0};
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (span_equal(name, known[i].name))
            return known[i].variable;
    if (name.length > prefix.length + 1 && memcmp(name.data, prefix.data, prefix.length) == 0 &&
        name.data[name.length - 1] == ']') {
        *attribute = span_of(name.data + prefix.length, name.length - prefix.length - 1);
        return POLICY_ATTRIBUTE;
    }
    return POLICY_UNKNOWN;
}
