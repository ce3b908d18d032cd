/** Of this server, as its package says; a test compares the two. */
export const VERSION = "0.1.0";
