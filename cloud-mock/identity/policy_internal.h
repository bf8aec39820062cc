/* policy_internal.h: a policy as it is compiled: everything in one block, found by numbers. Private to policy*.c.
 *
 * document -> statements -> resources and conditions -> patterns -> elements -> text. A document has at most 2,048 bytes, which bounds all of it.
 */
#ifndef IDENTITY_POLICY_INTERNAL_H
#define IDENTITY_POLICY_INTERNAL_H

#include "cloud/policy.h"

/* What can be put in for ${...}. Those before POLICY_ATTRIBUTE are resolved once for each question; each has a bit in `needs`. */
enum policy_variable {
    POLICY_CLIENT_ID,
    POLICY_SOURCE_IP,
    POLICY_THING_NAME,
    POLICY_THING_TYPE,
    POLICY_IS_ATTACHED,
    POLICY_CERTIFICATE_ID,
    POLICY_COMMON_NAME,
    POLICY_PLAIN_VARIABLES,
    POLICY_ATTRIBUTE = POLICY_PLAIN_VARIABLES, /* with its name */
    POLICY_UNKNOWN,                            /* any other: cannot be resolved */
    POLICY_VARIABLES
};
#define POLICY_BIT(variable) ((uint16_t)(1u << (variable)))

enum policy_element_kind { POLICY_TEXT, POLICY_ANY /* '*' */, POLICY_ONE /* '?', `length` of them */, POLICY_VARIABLE };
struct policy_element {
    uint8_t kind, variable;
    uint16_t at, length; /* in the text: of POLICY_TEXT, and of an attribute's name */
};

/* Of what a resource is: its pattern is for the name alone, or (WHOLE, where wildcards stand in the ARN before the name) for the ARN with region
 * and account left empty. */
enum policy_resource { POLICY_NO_RESOURCE, POLICY_CLIENT, POLICY_TOPIC, POLICY_FILTER, POLICY_OTHER, POLICY_WHOLE };
struct policy_pattern {
    uint16_t first, count; /* elements */
    uint8_t resource;
};

enum policy_test { POLICY_STRING, POLICY_STRING_NOT, POLICY_FOR_ALL, POLICY_FOR_ANY };
enum { POLICY_PERSISTENT_CONNECT = 1, POLICY_LAST_WILL = 2 };
struct policy_condition {
    uint8_t test, variable;
    uint8_t attributes;    /* FOR_ALL, FOR_ANY: of iot:ConnectAttributes */
    uint16_t at, length;   /* name of a thing's attribute */
    uint16_t first, count; /* patterns, one of which is to match */
};

struct policy_statement {
    bool deny;
    uint8_t actions;                           /* a bit for each enum cloud_action */
    uint16_t needs;                            /* variables without which it does not match */
    uint16_t first, count;                     /* resources: patterns */
    uint16_t first_condition, condition_count; /* all are to hold */
};

struct cloud_policy {
    const struct policy_statement *statements;
    const struct policy_condition *conditions;
    const struct policy_pattern *patterns;
    const struct policy_element *elements;
    const char *text;
    const char *document;
    uint16_t statement_count, needs;
    uint32_t document_length;
};

/* policy_variables.c: the variable of this name ("iot:ClientId"); *attribute: of a thing's attribute, its name. */
enum policy_variable policy_variable_of(struct span name, struct span *attribute);

static inline enum policy_resource policy_resource_of(enum cloud_action action)
{
    return action == CLOUD_ACTION_CONNECT     ? POLICY_CLIENT
           : action == CLOUD_ACTION_SUBSCRIBE ? POLICY_FILTER
                                              : POLICY_TOPIC;
}

#endif
