/**
 * The version of Ollama whose API is spoken here. Clients ask for it to learn what a server can do, and some refuse
 * servers that are older than they know.
 */
export const OLLAMA_VERSION = "0.12.6";
