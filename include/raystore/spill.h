// SPDX-License-Identifier: Apache-2.0
// Spill: objects laid down as records in a file, and read back.
//
// A file holds any number of records, one after the other. A record is three 8-byte little-endian lengths (of the owner's address, the
// metadata, the data), then the three. It is found again by its offset and its size; who knows no more than these can read it. The file's
// name says the first object and how many there are (ray_spill_name).
//
// A record may be *packed* (ray_spill_pack): its data is then a row of chunk frames (codec.h), one for each block of RAY_SPILL_SUM_BYTES of the
// object's own data, and its metadata begins with an announcement that says how long each of them is; the object's own metadata follows. Metadata
// that begins like an announcement and is none gets one before it.
//
// Caveats: nothing here overwrites a file; a file that could not be written whole is removed.
// Thread safety: every function may be called from any thread; those that take a path block on the disk.
#ifndef RAYSTORE_SPILL_H
#define RAYSTORE_SPILL_H

#include "codec.h"
#include "id.h"

RAY_BEGIN_DECLS
RAY_ASSUME_NONNULL_BEGIN

#define RAY_SPILL_HEADER_SIZE 24u
#define RAY_SPILL_PARTS 4u // of a record: lengths, owner, metadata, data
#define RAY_SPILL_SUM_BYTES (4u << 20) // of data that have a sum of their own: a block
#define RAY_SPILL_NAME_SIZE (RAY_OBJECT_ID_HEX_SIZE + 24u)

// A piece of memory. Laid out like struct iovec, whose header a module cannot include.
typedef struct ray_spill_part {
    void *RAY_NULLABLE bytes;
    size_t size;
} ray_spill_part;

// An object to be laid down, and where it came to lie.
typedef struct ray_spill_object {
    const void *RAY_NULLABLE owner;    // the owner's address
    const void *RAY_NULLABLE metadata;
    const void *RAY_NULLABLE data;
    uint64_t owner_size;
    uint64_t metadata_size;
    uint64_t data_size;
    uint64_t offset;   // set: of its record
    uint64_t size;     // set: of its record
    uint64_t checksum; // set: XXH3-64 of the data
    uint64_t metadata_checksum; // set: XXH3-64 of the metadata
    uint64_t *RAY_NULLABLE sums; // room for ray_spill_sum_count(data_size), set: XXH3-64 of each block; NULL: not wanted
    ray_object_id id;           // needed by ray_spill_pack only
    uint32_t announced_size;    // set by ray_spill_pack: bytes before the object's own metadata, mostly 0
    bool is_summed;             // set: checksum and sums are
    const uint32_t *RAY_NULLABLE frames; // set by ray_spill_pack: the size of each block's frame; NULL: the data is not packed
} ray_spill_object;

// What a record's first bytes say.
typedef struct ray_spill_lengths {
    uint64_t owner_size;
    uint64_t metadata_size;
    uint64_t data_size;
} ray_spill_lengths;

// The name of a file of `count` objects: the first one's id in hex, "-multi-", the count. name has room for RAY_SPILL_NAME_SIZE.
RAY_API void ray_spill_name(const ray_object_id *first, uint32_t count, char *name);

// Lays count records: fills `headers` (RAY_SPILL_HEADER_SIZE bytes each) and `parts` (RAY_SPILL_PARTS each), which then say in order what the file
// consists of, and point into headers and the objects' own memory. Reads all of the data, for the checksums.
RAY_API void ray_spill_lay(ray_spill_object *objects, uint32_t count, uint8_t *headers, ray_spill_part *parts);

// The same without the checksums of data, for who reads it anyway when it is written: they are not set before a ray_spill_summing is ended, but for
// what ray_spill_pack packs.
RAY_API void ray_spill_lay_unsummed(ray_spill_object *objects, uint32_t count, uint8_t *headers, ray_spill_part *parts);

// Checksums of objects that were laid unsummed, made of their bytes as they go by: these are in a core's cache then. Used by one thread at a time.
typedef struct ray_spill_summing ray_spill_summing;

// Of these objects, which stay where they are, and their data with them, until it is destroyed.
RAY_API ray_status ray_spill_summing_create(ray_spill_object *objects, uint32_t count,
                                            ray_spill_summing *RAY_NULLABLE *RAY_NULLABLE summing) RAY_NODISCARD;
// Bytes `from` ... of a part, by its number in the file, have been read. Those that go on where the last ended, or begin another object's data, are summed
// up; any others, and other parts than data, are passed over. An object's sums are set when all of its bytes have gone by in their order.
RAY_API void ray_spill_summing_take(ray_spill_summing *summing, uint32_t part, uint64_t from, const void *bytes, size_t size);
// Sets the sums that are not yet: reads of the data what did not go by. Blocks as long as that takes. Accepts NULL.
RAY_API void ray_spill_summing_end(ray_spill_summing *RAY_NULLABLE summing);
RAY_API void ray_spill_summing_destroy(ray_spill_summing *RAY_NULLABLE summing);

// Reads the lengths in the first RAY_SPILL_HEADER_SIZE bytes of a record of record_size bytes. RAY_CORRUPT unless they add up to it.
RAY_API ray_status ray_spill_lengths_read(const uint8_t *header, uint64_t record_size,
                                          ray_spill_lengths *lengths) RAY_NODISCARD;

// Whether these bytes, data or metadata, are what was laid down.
RAY_API bool ray_spill_matches(const void *RAY_NULLABLE data, uint64_t size, uint64_t checksum);

// How many blocks of RAY_SPILL_SUM_BYTES data of this size has, the last one perhaps shorter.
RAY_API uint64_t ray_spill_sum_count(uint64_t data_size);

// Part of a record's data, which cannot be told to be right by the sum of all of it: widens the range to the blocks that hold it.
RAY_API void ray_spill_blocks(uint64_t data_size, uint64_t *from, uint64_t *size);

// Whether these blocks, read from byte `from` of the data on into these parts, are what was laid down; `from` is where a block begins, and sums
// are those of all blocks. *altered is set to where the first that is not begins.
RAY_API bool ray_spill_blocks_match(const ray_spill_part *parts, uint32_t part_count, uint64_t from, const uint64_t *sums,
                                    uint64_t *altered);

// ---- packed records ------------------------------------------------------------------------------------------------------------

#define RAY_SPILL_ANNOUNCED_SIZE 32u // of an announcement, and 4 bytes more for each frame

// What is known of a storage and of packing for it: how fast it takes bytes, and what the codecs cost and gain. The tuner of the wire chooses by that,
// block by block. Any thread.
typedef struct ray_spill_pace ray_spill_pace;

RAY_API ray_status ray_spill_pace_create(ray_spill_pace *RAY_NULLABLE *RAY_NULLABLE pace) RAY_NODISCARD;
RAY_API void ray_spill_pace_destroy(ray_spill_pace *RAY_NULLABLE pace);
// The storage has taken so many bytes in so long.
RAY_API void ray_spill_pace_note(ray_spill_pace *pace, uint64_t bytes, uint64_t span_ns);
// Bytes a second that it takes; 0 before anything is known.
RAY_API double ray_spill_pace_rate(ray_spill_pace *pace);

typedef struct ray_spill_packing {
    uint32_t struct_size;
    uint16_t codec;      // RAY_CODEC_NONE: announcements are made where they must be, and nothing is packed; AUTO: by the pace
    int16_t level;       // of zstd
    uint64_t keep_bytes; // of packed data that is kept, for all objects together
    bool by_range;       // what does not fit there is packed again when it is read (ray_spill_packed_read); else it stays as it is
    ray_spill_pace *RAY_NULLABLE pace; // of AUTO; NULL, and as long as it knows nothing of the storage: zstd 1
} ray_spill_packing;

// What became of the data of a file's objects by packing it. Freed after its parts are written.
typedef struct ray_spill_packed ray_spill_packed;

// Packs what was laid, with an id and sums for each object: blocks that gain by it, of objects that gain by it. Afterwards objects,
// headers and parts say what the file consists of; metadata_checksum, checksum and sums are still those of the object's own bytes. A part of data whose
// bytes are NULL is to be had by ray_spill_packed_read. The objects' memory must stay as it is until ray_spill_packed_destroy. RAY_OUT_OF_MEMORY leaves all as
// it was laid. Blocks as long as reading and packing the data takes.
RAY_API ray_status ray_spill_pack(ray_spill_object *objects, uint32_t count, const ray_spill_packing *packing, uint8_t *headers,
                                  ray_spill_part *parts, ray_spill_packed *RAY_NULLABLE *RAY_NULLABLE packed) RAY_NODISCARD;
RAY_API void ray_spill_packed_destroy(ray_spill_packed *RAY_NULLABLE packed);

// Bytes `from` ... of a part of data, by its number in the file. May be called by several threads at once. RAY_SOURCE_CHANGED when a block that is packed
// again for this has other bytes than those that were laid. RAY_INVALID_ARGUMENT for what is no part of packed data, and beyond its end.
RAY_API ray_status ray_spill_packed_read(ray_spill_packed *packed, uint32_t part, uint64_t from, void *bytes, size_t size) RAY_NODISCARD;

// Time of a core that packing again has taken since, which the storage waited for.
RAY_API uint64_t ray_spill_packed_again_ns(ray_spill_packed *packed);

// What an announcement says.
typedef struct ray_spill_announcement {
    uint32_t size;        // of it, in the metadata
    uint32_t frame_count; // 0: the data is not packed
    uint64_t data_size;   // of the object's own data
} ray_spill_announcement;

// Whether metadata begins with an announcement, or with what must not be taken for one.
RAY_API bool ray_spill_is_announced(const void *RAY_NULLABLE metadata, uint64_t size);

// Reads the announcement that metadata begins with, for who knows no more than where the record lies; frames, if it is not NULL, has room for
// frames_capacity sizes. data_part_size is that of the record's data. RAY_CORRUPT when it was altered or does not add up.
RAY_API ray_status ray_spill_announcement_read(const void *metadata, uint64_t size, uint64_t data_part_size, uint32_t *RAY_NULLABLE frames,
                                               uint32_t frames_capacity, ray_spill_announcement *announcement) RAY_NODISCARD;

// Whether the metadata begins with the announcement of just these frames.
RAY_API bool ray_spill_announces(const void *metadata, uint64_t size, uint64_t data_size, const uint32_t *RAY_NULLABLE frames,
                                 uint32_t frame_count);

// Unpacks the frame of a block into raw. RAY_CORRUPT unless it is that block's, of raw_size bytes with this XXH3-64.
RAY_API ray_status ray_spill_unpack(ray_codec *codec, const uint8_t *frame, size_t frame_size, const ray_object_id *id, uint32_t block,
                                    uint64_t sum, void *raw, uint32_t raw_size) RAY_NODISCARD;

// ---- files ------------------------------------------------------------------------------------------------------------------------

enum {
    RAY_SPILL_SYNC = 1u << 0, // on the disk, its name too, before the call returns
};

// Writes a new file of these parts, straight from where they lie. RAY_EXISTS; RAY_OUT_OF_DISK with needed and free, when the disk or the quota is
// full or less than reserve_bytes would be left; RAY_SYSTEM with the errno; RAY_INVALID_ARGUMENT for a part of some size without bytes.
RAY_API ray_status ray_spill_write(const char *path, const ray_spill_part *parts, uint32_t part_count, uint64_t reserve_bytes,
                                   uint32_t flags) RAY_NODISCARD;

// The same of parts that were packed.
RAY_API ray_status ray_spill_write_packed(const char *path, const ray_spill_part *parts, uint32_t part_count,
                                          ray_spill_packed *RAY_NULLABLE packed, uint64_t reserve_bytes, uint32_t flags) RAY_NODISCARD;

// Begins to write a file back to the disk that was written without RAY_SPILL_SYNC, so that the disk has something to do and what is not on it does
// not pile up in the machine's memory. A hint, of use or not, so it cannot fail. Waits as long as the disk's queue is full.
RAY_API void ray_spill_write_back(const char *path);

// Fills the parts, one after the other, with the bytes of the file from offset on. RAY_FILE_NOT_FOUND; RAY_CORRUPT, naming file and offset, when
// it ends before; RAY_INVALID_ARGUMENT for a part of some size without memory.
RAY_API ray_status ray_spill_read(const char *path, uint64_t offset, const ray_spill_part *parts, uint32_t part_count) RAY_NODISCARD;

#define RAY_SPILL_READ_PARTS 3u // of a record that is read: what stands before its own metadata, its metadata, its data

// Fills the parts of records that lie one after the other from offset on, RAY_SPILL_READ_PARTS of each, empty ones among them. checksums is set to the
// XXH3-64 of each one's data: it is read in pieces, and each is summed up while it is in the core's cache. Fails as ray_spill_read does.
RAY_API ray_status ray_spill_read_records(const char *path, uint64_t offset, const ray_spill_part *parts, uint32_t record_count,
                                          uint64_t *checksums) RAY_NODISCARD;

// ---- a storage of one's own ------------------------------------------------------------------------------------------------

// The functions of an external storage, for a node that is embedded (see ExternalStorage in Swift, which says when each is called and what it is to
// answer). Every function may be called from several threads at once and may block. One that fails writes why, with what to do, into
// message, as text of at most message_capacity bytes with its NUL.
typedef struct ray_storage {
    uint32_t struct_size;
    const char *type_name; // valid until release
    void *RAY_NULLABLE context;
    // Makes sure that it can be used.
    ray_status (*validate)(void *RAY_NULLABLE context, char *message, size_t message_capacity);
    // Writes the parts as one new file, or those of the first records. Every RAY_SPILL_PARTS of them are a record. Answers the file's URL and how many
    // records are in it.
    ray_status (*spill)(void *RAY_NULLABLE context, const char *name, const ray_spill_part *parts, uint32_t record_count, char *url,
                        size_t url_capacity, uint32_t *written_count, char *message, size_t message_capacity);
    // Fills the parts with the file's bytes from offset on. RAY_FILE_NOT_FOUND, RAY_CORRUPT when it ends before.
    ray_status (*restore)(void *RAY_NULLABLE context, const char *url, uint64_t offset, const ray_spill_part *parts, uint32_t part_count,
                          char *message, size_t message_capacity);
    // Removes a file; none is not a failure.
    ray_status (*remove)(void *RAY_NULLABLE context, const char *url, char *message, size_t message_capacity);
    // Calls back with the URL of every file that is there.
    ray_status (*list)(void *RAY_NULLABLE context, void (*listed)(void *listed_context, const char *url), void *listed_context,
                       char *message, size_t message_capacity);
    // Removes everything.
    ray_status (*destroy)(void *RAY_NULLABLE context, char *message, size_t message_capacity);
    // Called once, last. May be NULL.
    void (*RAY_NULLABLE release)(void *RAY_NULLABLE context);
} ray_storage;

RAY_ASSUME_NONNULL_END
RAY_END_DECLS
#endif
