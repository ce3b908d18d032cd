export { GREEDY } from "../../src/protocol/greedy.ts";
