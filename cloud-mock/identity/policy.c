/* policy.c: what a compiled policy says to a question. Nothing is allocated; the time is bounded by the length of the name times that of the
 * document.
 */
#include "policy_internal.h"

#include "memory.h"

/* A question with all that stands for variables. */
struct question {
    const struct cloud_principal *principal;
    enum cloud_action action;
    enum policy_resource resource;
    struct span name;
    uint16_t resolved;
    struct span value[POLICY_PLAIN_VARIABLES];
    char certificate_id[64];
};

/* What a pattern is held against: `head`, then `name`. */
struct text {
    struct span head, name;
};

static void resolve(struct question *question, enum policy_variable variable, struct span value)
{
    if (value.length == 0)
        return;
    question->value[variable] = value;
    question->resolved |= POLICY_BIT(variable);
}

static void resolve_certificate(struct question *question, uint16_t needs)
{
    static const char digits[] = "0123456789abcdef";
    const struct cloud_peer *peer = question->principal->peer;
    if (!peer)
        return;
    if (needs & POLICY_BIT(POLICY_SOURCE_IP))
        resolve(question, POLICY_SOURCE_IP, span_text(peer->address));
    if (!peer->has_certificate)
        return;
    if (needs & POLICY_BIT(POLICY_COMMON_NAME))
        resolve(question, POLICY_COMMON_NAME, span_text(peer->common_name));
    if (!(needs & POLICY_BIT(POLICY_CERTIFICATE_ID)))
        return;
    for (size_t i = 0; i < sizeof(peer->certificate_id); i++) {
        question->certificate_id[2 * i] = digits[peer->certificate_id[i] >> 4];
        question->certificate_id[2 * i + 1] = digits[peer->certificate_id[i] & 15];
    }
    resolve(question, POLICY_CERTIFICATE_ID, span_of(question->certificate_id, sizeof(question->certificate_id)));
}

/* The connection is the thing's own: only then do variables of the thing mean anything. */
static bool is_attached(const struct cloud_principal *principal)
{
    return principal->thing.length && span_equal(principal->thing, principal->client_id);
}

static void resolve_all(struct question *question, uint16_t needs)
{
    const struct cloud_principal *principal = question->principal;
    bool attached = is_attached(principal);
    resolve(question, POLICY_CLIENT_ID, principal->client_id);
    resolve(question, POLICY_IS_ATTACHED, attached ? SPAN_LITERAL("true") : SPAN_LITERAL("false"));
    if (attached) {
        resolve(question, POLICY_THING_NAME, principal->thing);
        resolve(question, POLICY_THING_TYPE, principal->thing_type);
        if (principal->attribute)
            question->resolved |= POLICY_BIT(POLICY_ATTRIBUTE); /* if there is one of that name */
    }
    if (needs & (POLICY_BIT(POLICY_SOURCE_IP) | POLICY_BIT(POLICY_COMMON_NAME) | POLICY_BIT(POLICY_CERTIFICATE_ID)))
        resolve_certificate(question, needs);
}

static bool value_of(const struct cloud_policy *policy, const struct question *question, uint8_t variable, uint16_t at,
                     uint16_t length, struct span *value)
{
    const struct cloud_principal *principal = question->principal;
    if (variable < POLICY_PLAIN_VARIABLES) {
        *value = question->value[variable];
        return question->resolved & POLICY_BIT(variable);
    }
    *value = (struct span){NULL, 0};
    return (question->resolved & POLICY_BIT(variable)) &&
           principal->attribute(principal->attribute_context, span_of(policy->text + at, length), value) &&
           value->length;
}

/* --- patterns --- */

static bool stands_at(const struct text *text, uint32_t at, struct span piece)
{
    uint32_t head = text->head.length;
    if (piece.length > head + text->name.length - at)
        return false;
    if (head == 0)
        return piece.length == 0 || memcmp(text->name.data + at, piece.data, piece.length) == 0;
    for (uint32_t i = 0; i < piece.length; i++, at++)
        if (piece.data[i] != (at < head ? text->head.data[at] : text->name.data[at - head]))
            return false;
    return true;
}

/* How far the element reaches from here; false: it does not fit. */
static bool element_fits(const struct cloud_policy *policy, const struct question *question,
                         const struct policy_element *element, const struct text *text, uint32_t at, uint32_t *length)
{
    struct span piece;
    if (element->kind == POLICY_ONE) {
        *length = element->length;
        return element->length <= text->head.length + text->name.length - at;
    }
    if (element->kind == POLICY_TEXT)
        piece = span_of(policy->text + element->at, element->length);
    else if (!value_of(policy, question, element->variable, element->at, element->length, &piece))
        return false;
    *length = piece.length;
    return stands_at(text, at, piece);
}

/* Only the last '*' is ever gone back to: what an earlier one could take more of, the last one can take as well. */
static bool pattern_matches(const struct cloud_policy *policy, const struct question *question,
                            const struct policy_pattern *pattern, const struct text *text)
{
    const struct policy_element *elements = policy->elements + pattern->first;
    uint32_t end = text->head.length + text->name.length, at = 0, again_at = 0, length;
    uint32_t i = 0, again = UINT32_MAX;
    for (;;) {
        if (i == pattern->count && at == end)
            return true;
        if (i < pattern->count && elements[i].kind == POLICY_ANY) {
            if (++i == pattern->count)
                return true;
            again = i;
            again_at = at;
        } else if (i < pattern->count && element_fits(policy, question, &elements[i], text, at, &length)) {
            at += length;
            i++;
        } else {
            if (again == UINT32_MAX || again_at == end)
                return false;
            at = ++again_at;
            i = again;
        }
    }
}

static bool resource_matches(const struct cloud_policy *policy, const struct question *question,
                             const struct policy_pattern *pattern)
{
    struct text text = {.name = question->name};
    if (pattern->resource == POLICY_WHOLE) {
        text.head = question->resource == POLICY_CLIENT   ? SPAN_LITERAL("arn:aws:iot:::client/")
                    : question->resource == POLICY_FILTER ? SPAN_LITERAL("arn:aws:iot:::topicfilter/")
                                                          : SPAN_LITERAL("arn:aws:iot:::topic/");
    } else if (pattern->resource != question->resource) {
        return false;
    }
    return pattern_matches(policy, question, pattern, &text);
}

/* --- statements --- */

static bool condition_holds(const struct cloud_policy *policy, const struct question *question,
                            const struct policy_condition *condition)
{
    const struct cloud_principal *principal = question->principal;
    if (condition->test == POLICY_FOR_ALL || condition->test == POLICY_FOR_ANY) {
        uint8_t has = 0;
        if (question->action == CLOUD_ACTION_CONNECT)
            has = (uint8_t)((principal->persistent ? POLICY_PERSISTENT_CONNECT : 0) |
                            (principal->last_will ? POLICY_LAST_WILL : 0));
        return condition->test == POLICY_FOR_ALL ? !(has & ~condition->attributes) : has & condition->attributes;
    }
    struct text text = {.head = {NULL, 0}};
    if (!value_of(policy, question, condition->variable, condition->at, condition->length, &text.name))
        return false;
    for (uint32_t i = 0; i < condition->count; i++)
        if (pattern_matches(policy, question, &policy->patterns[condition->first + i], &text))
            return condition->test == POLICY_STRING;
    return condition->test == POLICY_STRING_NOT;
}

static bool attributes_known(const struct cloud_policy *policy, const struct question *question,
                             const struct policy_pattern *patterns, uint32_t count)
{
    struct span value;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < patterns[i].count; j++) {
            const struct policy_element *element = &policy->elements[patterns[i].first + j];
            if (element->kind == POLICY_VARIABLE && element->variable == POLICY_ATTRIBUTE &&
                !value_of(policy, question, POLICY_ATTRIBUTE, element->at, element->length, &value))
                return false;
        }
    return true;
}

/* All its variables can be resolved. */
static bool is_meant(const struct cloud_policy *policy, const struct question *question,
                     const struct policy_statement *statement)
{
    if (statement->needs & ~question->resolved)
        return false;
    if (!(statement->needs & POLICY_BIT(POLICY_ATTRIBUTE)))
        return true;
    for (uint32_t i = 0; i < statement->condition_count; i++) {
        const struct policy_condition *condition = &policy->conditions[statement->first_condition + i];
        if (!attributes_known(policy, question, policy->patterns + condition->first, condition->count))
            return false;
    }
    return attributes_known(policy, question, policy->patterns + statement->first, statement->count);
}

static bool statement_matches(const struct cloud_policy *policy, const struct question *question,
                              const struct policy_statement *statement)
{
    bool found = false;
    for (uint32_t i = 0; i < statement->count && !found; i++)
        found = resource_matches(policy, question, &policy->patterns[statement->first + i]);
    if (!found)
        return false;
    for (uint32_t i = 0; i < statement->condition_count; i++)
        if (!condition_holds(policy, question, &policy->conditions[statement->first_condition + i]))
            return false;
    return true;
}

static enum cloud_decision decide_one(const struct cloud_policy *policy, const struct question *question,
                                      enum cloud_decision decision)
{
    for (uint32_t i = 0; i < policy->statement_count; i++) {
        const struct policy_statement *statement = &policy->statements[i];
        if (!(statement->actions >> question->action & 1) || (decision == CLOUD_ALLOWED && !statement->deny) ||
            !is_meant(policy, question, statement) || !statement_matches(policy, question, statement))
            continue;
        if (statement->deny)
            return CLOUD_DENIED;
        decision = CLOUD_ALLOWED;
    }
    return decision;
}

enum cloud_decision cloud_policy_decide(const struct cloud_policy *const *policies, uint32_t count,
                                        enum cloud_action action, struct span name,
                                        const struct cloud_principal *principal)
{
    struct question question;
    enum cloud_decision decision = CLOUD_NOT_SAID;
    uint16_t needs = 0;
    for (uint32_t i = 0; i < count; i++)
        needs |= policies[i]->needs;
    question.principal = principal;
    question.action = action;
    question.resource = policy_resource_of(action);
    question.name = name;
    question.resolved = 0;
    if (needs)
        resolve_all(&question, needs);
    for (uint32_t i = 0; i < count && decision != CLOUD_DENIED; i++)
        decision = decide_one(policies[i], &question, decision);
    return decision;
}

void cloud_policy_free(struct cloud_policy *policy)
{
    memory_free(policy);
}

struct span cloud_policy_document(const struct cloud_policy *policy)
{
    return span_of(policy->document, policy->document_length);
}
