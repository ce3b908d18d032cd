/** Of this build, for `edge_build_info`. The same as in package.json, which a test compares. */
export const VERSION = "0.1.0";
