/**
 * Arguments of the commands that compare with a folder of fixtures. Exit codes of all of them: 0 everything is within its
 * bounds, 1 something is not, 2 called wrongly.
 */
interface Values {
  fixtures?: string | undefined;
  help?: boolean | undefined;
}

/**
 * Prints the help and ends the process where that is asked for, or where the command was called wrongly.
 *
 * @param parse with `parseArgs`
 */
export function verifyValues<T extends Values>(help: string, parse: () => T): T & { fixtures: string } {
  const values = parsed(help, parse);
  if (values.help) {
    console.log(help);
    process.exit(0);
  }
  const { fixtures } = values;
  if (fixtures === undefined) endWith("--fixtures is missing.", help);
  return { ...values, fixtures };
}

function parsed<T>(help: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    if (!String((cause as { code?: unknown }).code).startsWith("ERR_PARSE_ARGS")) throw cause;
    return endWith((cause as Error).message, help);
  }
}

function endWith(mistake: string, help: string): never {
  console.error(`${mistake}\n\n${help}`);
  process.exit(2);
}
