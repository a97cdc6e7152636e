#include "formats/web.h"

/* The assembler finds them in the build's folder. */
__asm__(".pushsection .rodata\n"
	".global web_flame, web_flame_end\n"
	"web_flame: .incbin \"web/flame.html\"\n"
	"web_flame_end: .byte 0\n"
	".popsection\n");
