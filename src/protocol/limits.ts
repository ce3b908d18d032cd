/**
 * Every bound on what a client may send. A bound exists because something of ours has a size: the 128 MB isolate that
 * also holds the model, one thread that must not be blocked, a row of storage. Over the bound is a 400 (413 for the
 * body) that names the value and the limit; `test/unit/protocol/limits.test.ts` has a case for each.
 */

/** Body, its text and its parsed form live at once beside the model in 128 MB. 2 MiB is 200k token ids in JSON. */
export const BODY_BYTES_MAX = 2 * 1024 * 1024;

/** A message costs a few template tokens even when empty, so no context that fits an isolate holds more. */
export const MESSAGES_MAX = 1024;

/** Parts of one message are joined; more than this is a document cut to pieces, better sent as one string. */
export const CONTENT_PARTS_MAX = 64;

/** Tokenizing is synchronous work: half a million characters are about 128k tokens, over any context served here. Three
 * UTF-8 bytes for each still fit one row of Durable Object storage (2 MB). */
export const TEXT_CHARS_MAX = 512 * 1024;

/** OpenAI's bound. Each is told to the model and tried at every call. */
export const TOOLS_MAX = 128;

/** OpenAI's bound; a name is written into prompts and grammars. */
export const TOOL_NAME_CHARS_MAX = 64;

/** Calls of one message of the history: as many as there may be tools. */
export const MESSAGE_TOOL_CALLS_MAX = 128;

/** Schemas, arguments and template variables are walked through with recursion; schemas in use are a dozen levels deep. */
export const JSON_DEPTH_MAX = 64;

/** Values in all such JSON of a request. Each text of it is looked through for control tokens; a hundred tools with large
 * schemas have some 8,000 values. */
export const JSON_VALUES_MAX = 20_000;

/** Variables of a chat template: templates in use know fewer than ten. */
export const TEMPLATE_ARGUMENTS_MAX = 64;

/** Documents for the template to quote; a context of this size holds few. */
export const DOCUMENTS_MAX = 64;

/** Ids of one prompt given as tokens: as many as `TEXT_CHARS_MAX` characters make. */
export const PROMPT_TOKENS_MAX = 128 * 1024;

/** Ids are u32 in WASM and i32 in model files; no vocabulary comes near. The model checks its own vocabulary. */
export const TOKEN_ID_MAX = 2 ** 31 - 1;

/** Batch scoring sends a few dozen prompts at once; each is a sequence in the scheduler's queue. */
export const PROMPTS_MAX = 128;

/** OpenAI allows 128. Choices decode side by side, and an isolate's KV pool holds few sequences. */
export const CHOICES_PER_PROMPT_MAX = 16;

/** prompts × n (or beams): each is a sequence with KV blocks of its own. */
export const CHOICES_MAX = 128;

/** A search looks at the 2 · width most likely tokens of each beam, and kernels report `TOP_LOGPROBS_MAX` for a row. */
export const BEAM_WIDTH_MAX = 10;

/** The length's power overflows nothing up to here, and beyond it the length alone decides. */
export const LENGTH_PENALTY_ABS_MAX = 10;

/** OpenAI allows 4, vLLM and llama.cpp any number. Every emitted token is matched against each. */
export const STOP_STRINGS_MAX = 16;

/** Text that may be the beginning of a stop string is held back from the stream, up to this much. */
export const STOP_STRING_CHARS_MAX = 256;

/** Compared with every sampled token. */
export const STOP_TOKEN_IDS_MAX = 64;

/** A whole vocabulary, and no model on these engines has a larger one; it becomes one mask. */
export const ALLOWED_TOKEN_IDS_MAX = 256 * 1024;

/** vLLM's `bad_words`. Each is tokenized three times when a request arrives, and compared with the end of the text at
 * every token. */
export const BAD_WORDS_MAX = 128;

/** A word or a phrase, as stop strings are. */
export const BAD_WORD_CHARS_MAX = 256;

/** Chat `top_logprobs` (OpenAI's bound). Alternatives are looked for in the whole vocabulary at every token. */
export const TOP_LOGPROBS_MAX = 20;

/** Completions `logprobs` (OpenAI's bound). */
export const COMPLETION_LOGPROBS_MAX = 5;

/** Applied to the logits of every token of every choice. */
export const LOGIT_BIAS_ENTRIES_MAX = 1024;

/** OpenAI's bound: ±100 bans or forces a token. */
export const LOGIT_BIAS_ABS_MAX = 100;

/** A count that fits i32; what the context leaves is checked by the model. */
export const MAX_TOKENS_MAX = 2 ** 31 - 1;

/** Penalties multiply logits; beyond this all text is noise. Zero would divide by zero. */
export const REPETITION_PENALTY_MAX = 10;

/** OpenAI's bound: hotter than 2 is noise. */
export const TEMPERATURE_MAX = 2;

/** OpenAI's bound on presence and frequency penalty. */
export const PENALTY_ABS_MAX = 2;

/** Seeds are int64 (OpenAI). JSON numbers over 2^53 arrive rounded: the same seed still gives the same text. */
export const SEED_ABS_MAX = 2 ** 63;

/** Order of the waiting line, either way; vLLM takes any int, too. */
export const PRIORITY_ABS_MAX = 2 ** 31 - 1;

/** Names of models end in log lines and error messages; a hub address fits. */
export const MODEL_NAME_CHARS_MAX = 256;

/** `prompt_cache_key`, `cache_salt`, owners, names of speakers: identifiers, not text. */
export const IDENTIFIER_CHARS_MAX = 256;

/** Inputs of one request for embeddings (OpenAI's bound). They are computed a few at a time, so many only take long; what
 * 2 MiB of body holds of them, and their vectors, fit an isolate. */
export const EMBEDDING_INPUTS_MAX = 2048;

/** Components of a vector. No model has more; how many one has, it knows itself. */
export const EMBEDDING_DIMENSIONS_MAX = 65_536;

/** One line of a list. */
export const TITLE_CHARS_MAX = 200;

/** Messages of one session that wait for its running answer (`if_busy: "queue"`). Each holds a connection open that says
 * nothing until its turn comes; a person types no more ahead. */
export const SESSION_QUEUE_MAX = 4;

/** Open sockets of one session: tabs and devices of one person, or a few people who look on. Every event is sent to each. */
export const SESSION_SOCKETS_MAX = 32;

/** What a socket's peer may leave unread before the socket is closed. A long answer is some hundred KB, so that is several
 * of them; a peer that is merely slow comes back with the last event's id and misses nothing. */
export const SOCKET_BUFFERED_BYTES_MAX = 1024 * 1024;

/** Room that `truncation: "auto"` keeps for an answer without `max_tokens`: a paragraph or two. */
export const TRUNCATION_ANSWER_TOKENS = 128;

/** Ids of responses and of items in them: a conversation's, a response's and a number. */
export const RESPONSE_ITEM_ID_CHARS_MAX = 128;

/** `metadata` of a response (OpenAI's bounds): kept and given back, never read. */
export const METADATA_ENTRIES_MAX = 16;
export const METADATA_VALUE_CHARS_MAX = 512;

/** `include` of a response: a choice from a list of about ten. */
export const RESPONSE_INCLUDES_MAX = 32;

/** What a response keeps of its own input: it shares a row of Durable Object storage (2 MB) with the answer. */
export const RESPONSE_INPUT_BYTES_MAX = 1_000_000;

/** Conversations whose items one response names by their ids: each is a call to another object. One is normal. */
export const REFERENCED_CONVERSATIONS_MAX = 8;

/** Responses that one goes on from, one after the other. Each adds at least a message to the prompt. */
export const RESPONSE_CHAIN_MAX = 512;

/** Characters of what an answer must match, as JSON: a session stores it with its turn, in one row. */
export const CONSTRAINT_CHARS_MAX = 256 * 1024;

/** Characters of a regular expression: the longest that libraries write into schemas (dates with leap years) have 400. */
export const PATTERN_CHARS_MAX = 4096;

/** Groups inside groups of patterns and grammars: read by functions that call themselves. */
export const PATTERN_DEPTH_MAX = 64;

/** Characters of a GBNF grammar; llama.cpp's largest example has 8,000. */
export const GRAMMAR_CHARS_MAX = 64 * 1024;

/** Values of an `enum` or of a choice, and their characters together: each character may become a place. */
export const ENUM_VALUES_MAX = 1024;
export const ENUM_CHARS_MAX = 8 * 1024;

/** Schemas in a schema, those that references and `allOf` bring in again counted each time. */
export const SCHEMA_NODES_MAX = 4096;

/** Schemas inside schemas; read by functions that call themselves. OpenAI allows 10 levels. */
export const SCHEMA_DEPTH_MAX = 64;

/** States of a string that must match several of pattern, format and length; each is two places of the grammar. */
export const INTERSECTION_STATES_MAX = 2048;

/** Levels of the schema's JSON, its values and examples included: four for each schema. */
export const SCHEMA_JSON_DEPTH_MAX = 256;

/** Characters of a property's name; read by functions that call themselves. */
export const SCHEMA_NAME_CHARS_MAX = 256;

/** Properties of one object; OpenAI allows 5,000 in a whole schema. */
export const SCHEMA_PROPERTIES_MAX = 512;

/** Remainders that digits are tracked for: `multipleOf` without its factors of ten. */
export const MULTIPLE_OF_MAX = 200;

/** Places of a compiled grammar (about 100 bytes each): a schema of a few hundred properties has a few thousand. */
export const GRAMMAR_NODES_MAX = 16 * 1024;

/** Rules inside rules while a grammar runs, about two for each level of JSON. What would go deeper is not offered to the
 * model, so a text always comes to its end. Each is a frame of a stack that masks are kept for. */
export const GRAMMAR_DEPTH_MAX = 256;

/** Goes into logs and back into a header. */
export const REQUEST_ID_CHARS_MAX = 128;

/** Proxies drop connections that are silent for 60 to 120 s; 15 s also keeps mobile networks awake. */
export const KEEP_ALIVE_MS = 15_000;
