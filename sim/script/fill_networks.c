/* fill_networks.c: what mobile networks do to connections, tunnels (networks.lua) -> struct scenario. */
#include "reader.h"

#include "sim/models.h"

void fill_radio_rates(struct reader *reader, struct link_profile *radio)
{
    const struct {
        const char *name;
        double *rate;
    } rates[] = {{"handovers_per_hour", &radio->handovers_per_hour},
                 {"half_open_per_hour", &radio->half_open_per_hour},
                 {"addresses_per_hour", &radio->addresses_per_hour}};
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++)
        if (reader_has(reader, rates[i].name))
            *rates[i].rate = reader_number(reader, rates[i].name, 0, 3600);
    if (reader_has(reader, "handover_gap"))
        radio->handover_gap_us = reader_time_us(reader, "handover_gap");
}

void fill_tunnel(struct reader *reader, struct scenario_tunnel *tunnel)
{
    tunnel->line = reader_whole(reader, "line", 1e9);
    reader->line = (int)tunnel->line;
    reader_text(reader, "name", tunnel->name, sizeof(tunnel->name));
    tunnel->model.share = reader_number(reader, "share", 0, 1);
    reader_table(reader, "at", 0, LONGEST_US, &tunnel->model.at, NULL, 0);
    reader_table(reader, "lasts", 0, LONGEST_US, &tunnel->model.lasts, NULL, 0);
    tunnel->model.from_us = reader_time_us(reader, "from");
    tunnel->model.until_us = reader_time_us(reader, "till");
    uint32_t cohort = reader_whole(reader, "cohort", 64), region = reader_whole(reader, "region", 16);
    tunnel->cohort = cohort ? (uint16_t)(cohort - 1) : MEASURE_ANY;
    tunnel->region = region ? (uint16_t)(region - 1) : MEASURE_ANY;
}
