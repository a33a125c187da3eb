/** The second half of the seeds of a CI run. */
import { judgeSeeds } from "./sweep.ts";

judgeSeeds(2_501, 2_500);
