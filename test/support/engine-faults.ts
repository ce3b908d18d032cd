/** Requests that `faulty-engine.ts` fails for, by their ids. */

/** Ends the process of every engine that is told of it, as a native abort does. */
export const FATAL_REQUEST = "fatal";
/** Loses the device of the engine that begins it, some steps later. */
export const DEVICE_LOSING_REQUEST = "device-losing";
