/* policy_rig.h: documents as short texts: "A Publish topic/a; D Subscribe topicfilter/x" is a policy of two statements. Several actions and
 * resources by commas; a condition in JSON after " if ". */
#ifndef POLICY_RIG_H
#define POLICY_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cloud/policy.h"

static void policy_put_list(char *out, size_t capacity, const char *list, const char *prefix)
{
    char copy[2048], *more = NULL;
    snprintf(copy, sizeof(copy), "%s", list);
    for (char *one = strtok_r(copy, ",", &more); one; one = strtok_r(NULL, ",", &more)) {
        size_t length = strlen(out);
        bool whole = strcmp(one, "*") == 0 || strncmp(one, "*:", 2) == 0 || strncmp(one, "arn:", 4) == 0;
        snprintf(out + length, capacity - length, "%s\"%s%s\"", out[length - 1] == '[' ? "" : ",", whole ? "" : prefix,
                 one);
    }
}

static void policy_put_statement(char *out, size_t capacity, char *text)
{
    char *condition = strstr(text, " if "), *more = NULL;
    if (condition) {
        *condition = 0;
        condition += 4;
    }
    const char *effect = strtok_r(text, " ", &more), *actions = strtok_r(NULL, " ", &more),
               *resources = strtok_r(NULL, " ", &more);
    size_t length = strlen(out);
    snprintf(out + length, capacity - length, "{\"Effect\":\"%s\",\"Action\":[", effect[0] == 'A' ? "Allow" : "Deny");
    policy_put_list(out, capacity, actions, "iot:");
    strcat(out, "],\"Resource\":[");
    policy_put_list(out, capacity, resources, "arn:aws:iot:eu-central-1:123456789012:");
    strcat(out, "]");
    length = strlen(out);
    snprintf(out + length, capacity - length, "%s%s}", condition ? ",\"Condition\":" : "", condition ? condition : "");
}

static inline struct cloud_policy *policy_make(const char *statements)
{
    char document[4096] = "{\"Version\":\"2012-10-17\",\"Statement\":[", error[200] = "", copy[2048], *more = NULL;
    snprintf(copy, sizeof(copy), "%s", statements);
    bool first = true;
    for (char *one = strtok_r(copy, ";", &more); one; one = strtok_r(NULL, ";", &more)) {
        strcat(document, first ? "" : ",");
        first = false;
        policy_put_statement(document, sizeof(document), one);
    }
    strcat(document, "]}");
    struct cloud_policy *policy = cloud_policy_compile(span_text(document), error, sizeof(error));
    if (!policy)
        fail_msg("%s\n%s", error, document);
    return policy;
}

static inline struct cloud_policy *policy_shipped(const char *name)
{
    char error[200] = "";
    struct cloud_policy *policy = cloud_policy_compile(span_text(cloud_policy_shipped(name)), error, sizeof(error));
    if (!policy)
        fail_msg("%s: %s", name, error);
    return policy;
}

#endif
