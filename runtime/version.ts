/** Version of this package, as nodes and commands tell it. `tests/unit/version.test.ts` keeps it in step with package.json. */
export const VERSION = "0.1.0";
