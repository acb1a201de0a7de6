"use strict";
// The button beside it does the same, where scripts do not run.
document.forms[0].submit();
