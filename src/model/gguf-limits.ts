/**
 * Bounds on what a GGUF header may claim. Counts and lengths in a file are an attacker's numbers: without bounds a
 * 70-byte file can ask for gigabytes (CWE-789, allocation from an untrusted length) or for a tensor of 3e38 elements
 * (CWE-190, overflow). Each bound is far above any model that fits an isolate and far below what would hurt one.
 */

/** Header and metadata together. The largest vocabularies in use (262,144 tokens with merges) take about 12 MB. */
export const MAX_HEADER_BYTES = 32 * 1024 * 1024;

/** Models in use have 20 to 60 keys. */
export const MAX_KEYS = 4096;

/** The format allows 65,535; keys in use stay under 60 bytes. */
export const MAX_KEY_BYTES = 1024;

/** One string value. Chat templates reach 20 kB; a whole tokenizer.json kept as a string reaches a few MB. */
export const MAX_STRING_BYTES = 8 * 1024 * 1024;

/** Elements of one array. The longest in use are merge lists of about 515,000 entries. */
export const MAX_ARRAY_LENGTH = 1 << 20;

/** Strings, booleans and nested arrays cost a JavaScript object or slot each, so they are bounded over the whole file. */
export const MAX_OBJECTS = 1 << 21;

/** Arrays of arrays exist in the format and in no model known; two levels are generous. */
export const MAX_ARRAY_DEPTH = 3;

/** A 126-layer model has about 1,140 tensors. */
export const MAX_TENSORS = 1 << 16;

/** GGML_MAX_NAME: the format's own bound on a tensor name. */
export const MAX_TENSOR_NAME_BYTES = 64;

/** GGML_MAX_DIMS. */
export const MAX_RANK = 4;

/** `general.alignment` is 32 in practice; a memory page is the largest that makes sense. */
export const MAX_ALIGNMENT_BYTES = 1 << 16;
