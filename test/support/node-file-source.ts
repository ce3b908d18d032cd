/** A file on disk as a byte source: the one that the command line reads models with. */
export { fileSource as nodeFileSource } from "../../scripts/model/file-source.ts";
