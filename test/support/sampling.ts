export { GREEDY } from "../../src/serving/greedy.ts";
