/* svg.c: the elements of a picture. Lengths are in units of the view box, which the page stretches to the room there is. */
#include "svg.h"

#include <math.h>
#include <stdio.h>

double frame_x(const struct frame *frame, double value)
{
    double room = frame->width - frame->left - frame->right;
    double share = frame->logarithmic ? log(value / frame->x_from) / log(frame->x_to / frame->x_from)
                                      : (value - frame->x_from) / (frame->x_to - frame->x_from);
    return frame->left + room * fmin(fmax(share, 0), 1);
}

double frame_y(const struct frame *frame, double value)
{
    double room = frame->height - frame->top - frame->bottom;
    return frame->height - frame->bottom - room * fmin(fmax(value / frame->y_to, 0), 1);
}

void svg_open(struct page *page, double width, double height, const char *label)
{
    page_format(page, "<svg class=\"chart\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"", width, height);
    page_escape(page, label);
    page_add(page, "\">");
}

void svg_close(struct page *page)
{
    page_add(page, "</svg>\n");
}

void svg_text(struct page *page, double x, double y, const char *anchor, const char *class, const char *text)
{
    page_format(page, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">", x, y, anchor, class);
    page_escape(page, text);
    page_add(page, "</text>");
}

void svg_line(struct page *page, double x1, double y1, double x2, double y2, const char *class)
{
    page_format(page, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>", x1, y1, x2, y2, class);
}

/* 1, 2 or 5 times a power of ten. */
double svg_nice_step(double range, int steps)
{
    double raw = range / steps;
    if (!(raw > 0))
        return 1;
    double power = pow(10, floor(log10(raw))), times = raw / power;
    return power * (times <= 1.0001 ? 1 : times <= 2.0001 ? 2 : times <= 5.0001 ? 5 : 10);
}

void svg_number(double value, bool bytes, char *out, size_t capacity)
{
    if (bytes)
        measure_format_bytes(value, out, capacity);
    else if (value >= 1e6)
        snprintf(out, capacity, "%g M", value / 1e6);
    else
        measure_format_count(value, out, capacity);
}
