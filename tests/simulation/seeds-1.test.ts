/** The first half of the seeds of a CI run; the two halves run side by side. */
import { judgeSeeds } from "./sweep.ts";

judgeSeeds(1, 2_500);
