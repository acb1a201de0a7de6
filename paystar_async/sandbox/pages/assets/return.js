"use strict";
// Without scripts, the payer presses the form's button.
document.forms[0].submit();
