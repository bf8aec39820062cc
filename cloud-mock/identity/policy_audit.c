/* policy_audit.c: what an audit finds in a policy without asking it anything (cloud-contract 5).
 *
 * Broad access: an Allow to publish, subscribe or receive whose name has a '*' within its first two levels (three of $aws/), no variable
 * before it that ties it to one connection, and that is not about getting an identity: everything, all of dt/, things/+/... as a filter.
 * Connecting alone reaches nobody's data.
 */
#include "policy_internal.h"

#define DATA_ACTIONS                                                                                                   \
    (1u << CLOUD_ACTION_PUBLISH | 1u << CLOUD_ACTION_SUBSCRIBE | 1u << CLOUD_ACTION_RECEIVE |                          \
     1u << CLOUD_ACTION_RETAIN_PUBLISH)

static bool is_about(const struct policy_statement *statement, const struct policy_pattern *pattern,
                     enum cloud_action action)
{
    return (statement->actions >> action & 1) &&
           (pattern->resource == POLICY_WHOLE || pattern->resource == policy_resource_of(action));
}

static bool begins(struct span text, struct span start)
{
    return text.length >= start.length && memcmp(text.data, start.data, start.length) == 0;
}

static struct span text_of(const struct cloud_policy *policy, const struct policy_element *element)
{
    return span_of(policy->text + element->at, element->length);
}

/* A client without an identity of its own says these; nothing of any device is told there. */
static bool is_for_anybody(struct span start)
{
    return begins(start, SPAN_LITERAL("$aws/certificates/")) ||
           begins(start, SPAN_LITERAL("$aws/provisioning-templates/"));
}

static bool is_broad(const struct cloud_policy *policy, const struct policy_pattern *pattern)
{
    bool filter = pattern->resource == POLICY_FILTER;
    uint32_t slashes = 0, levels = 2;
    if (pattern->resource == POLICY_WHOLE)
        return true;
    for (uint32_t i = 0; i < pattern->count; i++) {
        const struct policy_element *element = &policy->elements[pattern->first + i];
        if (element->kind == POLICY_VARIABLE)
            return false;
        if (element->kind == POLICY_ANY)
            return true;
        struct span text = text_of(policy, element);
        if (element->kind != POLICY_TEXT)
            continue;
        if (i == 0 && is_for_anybody(text))
            return false;
        if (i == 0 && begins(text, SPAN_LITERAL("$aws/")))
            levels = 3; /* $aws/things/... */
        for (uint32_t at = 0; at < text.length && slashes < levels; at++) {
            if (filter && (text.data[at] == '+' || text.data[at] == '#'))
                return true;
            slashes += text.data[at] == '/';
        }
        if (slashes >= levels)
            return false;
    }
    return false;
}

static bool gives_broad_access(const struct cloud_policy *policy, const struct policy_statement *statement)
{
    for (uint32_t i = 0; i < statement->count && (statement->actions & DATA_ACTIONS); i++) {
        const struct policy_pattern *pattern = &policy->patterns[statement->first + i];
        bool data = pattern->resource == POLICY_WHOLE ||
                    (pattern->resource == POLICY_FILTER && (statement->actions & 1u << CLOUD_ACTION_SUBSCRIBE)) ||
                    (pattern->resource == POLICY_TOPIC &&
                     (statement->actions & DATA_ACTIONS & ~(1u << CLOUD_ACTION_SUBSCRIBE)));
        if (data && is_broad(policy, pattern))
            return true;
    }
    return false;
}

/* '+' and '#' mean themselves in a policy: such a denial does not deny what it looks like. */
static bool has_mqtt_wildcard(const struct cloud_policy *policy, const struct policy_statement *statement)
{
    for (uint32_t i = 0; i < statement->count; i++) {
        const struct policy_pattern *pattern = &policy->patterns[statement->first + i];
        if (pattern->resource != POLICY_FILTER && pattern->resource != POLICY_TOPIC &&
            pattern->resource != POLICY_WHOLE)
            continue;
        for (uint32_t j = 0; j < pattern->count; j++) {
            const struct policy_element *element = &policy->elements[pattern->first + j];
            if (element->kind == POLICY_TEXT && (memchr(policy->text + element->at, '+', element->length) ||
                                                 memchr(policy->text + element->at, '#', element->length)))
                return true;
        }
    }
    return false;
}

static bool elements_equal(const struct cloud_policy *policy, const struct policy_element *a,
                           const struct policy_element *b)
{
    return a->kind == b->kind && a->variable == b->variable && a->length == b->length &&
           memcmp(policy->text + a->at, policy->text + b->at, a->kind == POLICY_ONE ? 0 : a->length) == 0;
}

static bool patterns_equal(const struct cloud_policy *policy, const struct policy_pattern *a,
                           const struct policy_pattern *b)
{
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (!elements_equal(policy, &policy->elements[a->first + i], &policy->elements[b->first + i]))
            return false;
    return true;
}

/* What stands before its first wildcard or variable is the start of the other's, or the other way round. */
static bool may_overlap(const struct cloud_policy *policy, const struct policy_pattern *a,
                        const struct policy_pattern *b)
{
    const struct policy_element *first = &policy->elements[a->first], *second = &policy->elements[b->first];
    if (!a->count || !b->count || first->kind != POLICY_TEXT || second->kind != POLICY_TEXT ||
        a->resource != b->resource)
        return true;
    struct span x = text_of(policy, first), y = text_of(policy, second);
    return begins(x, y) || begins(y, x);
}

static bool has_star(const struct cloud_policy *policy, const struct policy_pattern *pattern)
{
    for (uint32_t i = 0; i < pattern->count; i++)
        if (policy->elements[pattern->first + i].kind == POLICY_ANY)
            return true;
    return false;
}

static bool receive_is_denied_too(const struct cloud_policy *policy, const struct policy_pattern *denied)
{
    for (uint32_t i = 0; i < policy->statement_count; i++) {
        const struct policy_statement *statement = &policy->statements[i];
        for (uint32_t j = 0; statement->deny && j < statement->count; j++) {
            const struct policy_pattern *pattern = &policy->patterns[statement->first + j];
            if (is_about(statement, pattern, CLOUD_ACTION_RECEIVE) &&
                (pattern == denied || patterns_equal(policy, pattern, denied)))
                return true;
        }
    }
    return false;
}

/* Denied is a filter; a wider one with MQTT wildcards in it, which another statement allows, brings the same messages unless they may not
 * be received either. */
static bool is_evaded(const struct cloud_policy *policy, const struct policy_pattern *denied)
{
    if (receive_is_denied_too(policy, denied))
        return false;
    for (uint32_t i = 0; i < policy->statement_count; i++) {
        const struct policy_statement *statement = &policy->statements[i];
        for (uint32_t j = 0; !statement->deny && j < statement->count; j++) {
            const struct policy_pattern *pattern = &policy->patterns[statement->first + j];
            if (is_about(statement, pattern, CLOUD_ACTION_SUBSCRIBE) && has_star(policy, pattern) &&
                may_overlap(policy, pattern, denied))
                return true;
        }
    }
    return false;
}

uint32_t cloud_policy_audit(const struct cloud_policy *policy)
{
    uint32_t findings = 0;
    for (uint32_t i = 0; i < policy->statement_count; i++) {
        const struct policy_statement *statement = &policy->statements[i];
        if (!statement->deny) {
            if (gives_broad_access(policy, statement))
                findings |= CLOUD_POLICY_BROAD_ACCESS;
            continue;
        }
        if (has_mqtt_wildcard(policy, statement))
            findings |= CLOUD_POLICY_MQTT_WILDCARD_IN_DENY;
        for (uint32_t j = 0; j < statement->count; j++) {
            const struct policy_pattern *pattern = &policy->patterns[statement->first + j];
            /* who denies everything means to */
            if (is_about(statement, pattern, CLOUD_ACTION_SUBSCRIBE) && pattern->resource == POLICY_FILTER &&
                is_evaded(policy, pattern))
                findings |= CLOUD_POLICY_DENY_EVADED;
        }
    }
    return findings;
}
