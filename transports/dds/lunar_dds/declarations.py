"""What is used of Cyclone DDS 11, in C. From its public headers, cut down to what we read."""

from typing import Final

__all__ = ["DECLARATIONS"]

DECLARATIONS: Final = """
typedef int32_t dds_entity_t;
typedef int32_t dds_return_t;
typedef int64_t dds_duration_t;
typedef uint64_t dds_instance_handle_t;
typedef struct dds_qos dds_qos_t;
typedef struct dds_listener dds_listener_t;
typedef struct { uint8_t v[16]; } dds_guid_t;
typedef struct { char *iov_base; size_t iov_len; } ddsrt_iovec_t; /* void * in C: here it can be counted from */

/* ---- types ---- */

typedef struct { const char *m_name; uint32_t m_offset; uint32_t m_idx; } dds_key_descriptor_t;
struct dds_type_meta_ser { const unsigned char *data; uint32_t sz; };
typedef struct {
    uint32_t m_size, m_align, m_flagset, m_nkeys;
    const char *m_typename;
    const dds_key_descriptor_t *m_keys;
    uint32_t m_nops;
    const uint32_t *m_ops;
    const char *m_meta;
    struct dds_type_meta_ser type_information, type_mapping;
    uint32_t restrict_data_representation;
} dds_topic_descriptor_t;

/* ---- samples ---- */

typedef struct {
    unsigned sample_state, view_state, instance_state;
    bool valid_data;
    int64_t source_timestamp;
    dds_instance_handle_t instance_handle, publication_handle;
    uint32_t disposed_generation_count, no_writers_generation_count;
    uint32_t sample_rank, generation_rank, absolute_generation_rank;
} dds_sample_info_t;
struct ddsi_sertype;
struct ddsi_serdata {
    const void *ops;
    uint32_t hash;
    uint32_t refc;
    int kind;
    const struct ddsi_sertype *type;
    int64_t timestamp;
    uint32_t statusinfo;
    int64_t twrite;
    void *loan;
};
struct ddsi_serdata *ddsi_serdata_from_ser_iov(
    const struct ddsi_sertype *type, int kind, size_t niov, const ddsrt_iovec_t *iov, size_t size);
struct ddsi_serdata *ddsi_serdata_to_ser_ref(const struct ddsi_serdata *d, size_t off, size_t sz, ddsrt_iovec_t *ref);
void ddsi_serdata_to_ser_unref(struct ddsi_serdata *d, const ddsrt_iovec_t *ref);
struct ddsi_serdata *ddsi_serdata_ref(const struct ddsi_serdata *d);
void ddsi_serdata_unref(struct ddsi_serdata *d);
uint32_t ddsi_serdata_size(const struct ddsi_serdata *d);
dds_return_t dds_get_entity_sertype(dds_entity_t entity, const struct ddsi_sertype **sertype);
dds_return_t dds_forwardcdr(dds_entity_t writer, struct ddsi_serdata *serdata);
dds_return_t dds_takecdr(
    dds_entity_t reader, struct ddsi_serdata **buf, uint32_t maxs, dds_sample_info_t *si, uint32_t mask);

/* ---- entities ---- */

dds_entity_t dds_create_domain(uint32_t domain, const char *config);
dds_entity_t dds_create_participant(uint32_t domain, const dds_qos_t *qos, const dds_listener_t *listener);
dds_entity_t dds_create_topic(dds_entity_t participant, const dds_topic_descriptor_t *descriptor, const char *name,
    const dds_qos_t *qos, const dds_listener_t *listener);
dds_entity_t dds_create_reader(dds_entity_t parent, dds_entity_t topic, const dds_qos_t *qos, const dds_listener_t *l);
dds_entity_t dds_create_writer(dds_entity_t parent, dds_entity_t topic, const dds_qos_t *qos, const dds_listener_t *l);
dds_return_t dds_delete(dds_entity_t entity);
const char *dds_strretcode(dds_return_t ret);

/* ---- matches ---- */

typedef struct {
    dds_guid_t key, participant_key;
    dds_instance_handle_t participant_instance_handle;
    char *topic_name, *type_name;
    dds_qos_t *qos;
} dds_builtintopic_endpoint_t;
dds_return_t dds_get_matched_publications(dds_entity_t reader, dds_instance_handle_t *handles, size_t count);
dds_return_t dds_get_matched_subscriptions(dds_entity_t writer, dds_instance_handle_t *handles, size_t count);
dds_builtintopic_endpoint_t *dds_get_matched_publication_data(dds_entity_t reader, dds_instance_handle_t handle);
dds_builtintopic_endpoint_t *dds_get_matched_subscription_data(dds_entity_t writer, dds_instance_handle_t handle);
void dds_builtintopic_free_endpoint(dds_builtintopic_endpoint_t *endpoint);

/* ---- listeners ---- */

dds_listener_t *dds_create_listener(void *arg);
void dds_delete_listener(dds_listener_t *listener);
dds_return_t dds_lset_data_available_arg(dds_listener_t *listener, void *callback, void *arg, bool reset);
dds_return_t dds_lset_subscription_matched_arg(dds_listener_t *listener, void *callback, void *arg, bool reset);
dds_return_t dds_lset_publication_matched_arg(dds_listener_t *listener, void *callback, void *arg, bool reset);

/* ---- quality of service ---- */

dds_qos_t *dds_create_qos(void);
void dds_delete_qos(dds_qos_t *qos);
void dds_qset_userdata(dds_qos_t *qos, const void *value, size_t size);
bool dds_qget_userdata(const dds_qos_t *qos, void **value, size_t *size);
void dds_free(void *memory);
void dds_qset_reliability(dds_qos_t *qos, int kind, dds_duration_t max_blocking_time);
void dds_qset_durability(dds_qos_t *qos, int kind);
void dds_qset_durability_service(dds_qos_t *qos, dds_duration_t cleanup_delay, int history, int32_t depth,
    int32_t max_samples, int32_t max_instances, int32_t max_samples_per_instance);
void dds_qset_history(dds_qos_t *qos, int kind, int32_t depth);
void dds_qset_resource_limits(
    dds_qos_t *qos, int32_t max_samples, int32_t max_instances, int32_t max_samples_per_instance);
void dds_qset_deadline(dds_qos_t *qos, dds_duration_t deadline);
void dds_qset_lifespan(dds_qos_t *qos, dds_duration_t lifespan);
void dds_qset_liveliness(dds_qos_t *qos, int kind, dds_duration_t lease_duration);
void dds_qset_transport_priority(dds_qos_t *qos, int32_t value);
void dds_qset_writer_data_lifecycle(dds_qos_t *qos, bool autodispose);
void dds_qset_ignorelocal(dds_qos_t *qos, int kind);
"""
