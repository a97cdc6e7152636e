#include "remote/elf.h"

#include <elf.h>
#include <errno.h>
#include <gelf.h>
#include <libelf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "remote/memory.h"

/* Real objects have about ten segments and forty sections; with one section a function (-O2
 * -ffunction-sections, not linked away) thousands. */
#define SEGMENTS_MAX 256
#define SECTIONS_MAX 65536

/* A table of symbols of the largest browsers is some 60 MB, its strings some 150 MB. */
#define TABLE_SIZE_MAX ((uint64_t)256 << 20)

/* Notes are a few dozen bytes; kernels and Go put some kilobytes there. */
#define NOTES_SIZE_MAX ((uint64_t)64 << 10)

/* The dynamic section of a large program has some fifty entries. */
#define DYNAMIC_MAX 256

/* Names looked up are this short, and hash chains of real objects a few links long. */
#define NAME_SIZE_MAX 64
#define CHAIN_MAX     1024

#define PAGE_MASK_4K (~UINT64_C(0xfff))

struct elf_file {
	Elf *elf;
	uint64_t file_size;
	size_t segments;
};

void elf_file_free(struct elf_file *f)
{
	if (!f)
		return;
	if (f->elf)
		elf_end(f->elf);
	free(f);
}

/* What the first bytes say of an ELF file: 0 for ours, -ENOTSUP for another machine's. */
static int check_ident(int fd)
{
	Elf64_Ehdr h;

	if (pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h) ||
	    memcmp(h.e_ident, ELFMAG, SELFMAG) != 0)
		return -ENOEXEC;
	if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_ident[EI_DATA] != ELFDATA2LSB ||
	    h.e_machine != EM_X86_64)
		return -ENOTSUP;
	if (h.e_type != ET_EXEC && h.e_type != ET_DYN)
		return -ENOEXEC;
	return 0;
}

int elf_file_open(struct elf_file **ret, int fd)
{
	struct elf_file *f;
	struct stat st;
	size_t n;
	int r;

	if (elf_version(EV_CURRENT) == EV_NONE)
		return -ENOTSUP;
	if (fstat(fd, &st) < 0)
		return -errno;
	r = check_ident(fd);
	if (r < 0)
		return r;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->file_size = st.st_size > 0 ? (uint64_t)st.st_size : 0;
	f->elf = elf_begin(fd, ELF_C_READ, NULL);
	if (!f->elf || elf_kind(f->elf) != ELF_K_ELF || elf_getphdrnum(f->elf, &n) != 0) {
		elf_file_free(f);
		return -ENOEXEC;
	}
	f->segments = n < SEGMENTS_MAX ? n : SEGMENTS_MAX;
	*ret = f;
	return 0;
}

/* The contents of a section, when the file has them whole and they are not too large. */
static Elf_Data *section_data(struct elf_file *f, Elf_Scn *scn, uint64_t max)
{
	GElf_Shdr sh;

	if (!scn || !gelf_getshdr(scn, &sh) || sh.sh_type == SHT_NOBITS || sh.sh_size == 0 ||
	    sh.sh_size > max || sh.sh_offset > f->file_size ||
	    sh.sh_size > f->file_size - sh.sh_offset)
		return NULL;
	return elf_getdata(scn, NULL);
}

/* The first section that take() accepts, or NULL. */
static Elf_Scn *find_section(struct elf_file *f,
			     bool (*take)(struct elf_file *f, const GElf_Shdr *sh, const void *arg),
			     const void *arg, GElf_Shdr *ret_header)
{
	Elf_Scn *scn = NULL;

	for (size_t i = 0; i < SECTIONS_MAX; i++) {
		scn = elf_nextscn(f->elf, scn);
		if (!scn || !gelf_getshdr(scn, ret_header))
			return NULL;
		if (take(f, ret_header, arg))
			return scn;
	}
	return NULL;
}

static bool section_is_type(struct elf_file *f, const GElf_Shdr *sh, const void *arg)
{
	return sh->sh_type == *(const uint32_t *)arg;
}

static bool section_is_named(struct elf_file *f, const GElf_Shdr *sh, const void *arg)
{
	const char *name;
	size_t names;

	if (!(sh->sh_flags & SHF_ALLOC) || elf_getshdrstrndx(f->elf, &names) != 0)
		return false;
	/* libelf checks that the string ends within its section. */
	name = elf_strptr(f->elf, names, sh->sh_name);
	return name && strcmp(name, arg) == 0;
}

int elf_file_symbols(struct elf_file *f, enum elf_symbols table, const char *const *names,
		     uint64_t *values, size_t n)
{
	uint32_t type = table == ELF_SYMBOLS_DYNAMIC ? SHT_DYNSYM : SHT_SYMTAB;
	size_t lens[ELF_NAMES_MAX];
	Elf_Data *symbols, *strings;
	size_t count, missing = 0;
	GElf_Shdr sh;
	Elf_Scn *scn;
	int found = 0;

	if (n > ELF_NAMES_MAX)
		n = ELF_NAMES_MAX;
	scn = find_section(f, section_is_type, &type, &sh);
	if (!scn)
		return 0;
	symbols = section_data(f, scn, TABLE_SIZE_MAX);
	strings = section_data(f, elf_getscn(f->elf, sh.sh_link), TABLE_SIZE_MAX);
	if (!symbols || !strings || !symbols->d_buf || !strings->d_buf ||
	    symbols->d_type != ELF_T_SYM)
		return 0;
	for (size_t i = 0; i < n; i++) {
		lens[i] = strlen(names[i]) + 1;
		missing += values[i] == 0;
	}
	count = symbols->d_size / sizeof(Elf64_Sym);
	for (size_t i = 0; i < count && missing > 0; i++) {
		const Elf64_Sym *sym = (const Elf64_Sym *)symbols->d_buf + i;
		const char *name;
		size_t room;

		if (sym->st_shndx == SHN_UNDEF || sym->st_value == 0 ||
		    sym->st_name >= strings->d_size)
			continue;
		name = (const char *)strings->d_buf + sym->st_name;
		room = strings->d_size - sym->st_name;
		for (size_t k = 0; k < n; k++) {
			if (values[k] != 0 || lens[k] > room || name[0] != names[k][0] ||
			    memcmp(name, names[k], lens[k]) != 0)
				continue;
			values[k] = sym->st_value;
			missing--;
			found++;
		}
	}
	return found;
}

int elf_file_section(struct elf_file *f, const char *name, uint64_t *ret_addr, uint64_t *ret_size)
{
	GElf_Shdr sh;

	if (!find_section(f, section_is_named, name, &sh) || sh.sh_addr == 0)
		return -ENOENT;
	*ret_addr = sh.sh_addr;
	*ret_size = sh.sh_size;
	return 0;
}

size_t elf_file_build_id(struct elf_file *f, uint8_t id[static ELF_BUILD_ID_MAX])
{
	for (size_t i = 0; i < f->segments; i++) {
		size_t at = 0, next, name, desc;
		GElf_Phdr ph;
		GElf_Nhdr note;
		Elf_Data *data;

		if (!gelf_getphdr(f->elf, (int)i, &ph) || ph.p_type != PT_NOTE ||
		    ph.p_filesz == 0 || ph.p_filesz > NOTES_SIZE_MAX ||
		    ph.p_offset > f->file_size || ph.p_filesz > f->file_size - ph.p_offset)
			continue;
		data = elf_getdata_rawchunk(f->elf, (int64_t)ph.p_offset, ph.p_filesz,
					    ph.p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
		while (data && (next = gelf_getnote(data, at, &note, &name, &desc)) > at) {
			const char *text = (const char *)data->d_buf + name;

			if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof("GNU") &&
			    memcmp(text, "GNU", sizeof("GNU")) == 0 && note.n_descsz > 0) {
				size_t len = note.n_descsz < ELF_BUILD_ID_MAX ? note.n_descsz
									      : ELF_BUILD_ID_MAX;

				memcpy(id, (const char *)data->d_buf + desc, len);
				return len;
			}
			at = next;
		}
	}
	return 0;
}

int elf_file_bias(struct elf_file *f, uint64_t start, uint64_t offset, uint64_t *ret_bias)
{
	for (size_t i = 0; i < f->segments; i++) {
		GElf_Phdr ph;

		if (!gelf_getphdr(f->elf, (int)i, &ph) || ph.p_type != PT_LOAD ||
		    ph.p_filesz == 0 || ph.p_offset > f->file_size)
			continue;
		if (offset < (ph.p_offset & PAGE_MASK_4K) ||
		    offset - (ph.p_offset & PAGE_MASK_4K) >= ph.p_filesz)
			continue;
		/* The loader maps whole pages: address and offset agree modulo a page, and both
		 * differences are meant modulo 2^64. */
		*ret_bias = start - offset - (ph.p_vaddr - ph.p_offset);
		return 0;
	}
	return -ENOENT;
}

/* A loaded object: where its tables for dynamic linking are, as the target's addresses. */
struct loaded {
	struct memory *m;
	uint64_t bias;
	uint64_t symbols, strings, hash;
	uint64_t strings_size;
};

/* The dynamic linker has replaced addresses of the file by addresses in memory, but not where it
 * may not write or has not come yet. */
static uint64_t loaded_address(const struct loaded *l, uint64_t value)
{
	return value < l->bias ? value + l->bias : value;
}

static int read_dynamic(struct loaded *l, const Elf64_Phdr *ph)
{
	Elf64_Dyn dyn[DYNAMIC_MAX];
	size_t n = ph->p_memsz / sizeof(dyn[0]);
	int r;

	if (n > DYNAMIC_MAX)
		n = DYNAMIC_MAX;
	r = memory_read(l->m, l->bias + ph->p_vaddr, dyn, n * sizeof(dyn[0]));
	if (r < 0)
		return r;
	for (size_t i = 0; i < n && dyn[i].d_tag != DT_NULL; i++) {
		switch (dyn[i].d_tag) {
		case DT_SYMTAB:
			l->symbols = loaded_address(l, dyn[i].d_un.d_ptr);
			break;
		case DT_STRTAB:
			l->strings = loaded_address(l, dyn[i].d_un.d_ptr);
			break;
		case DT_GNU_HASH:
			l->hash = loaded_address(l, dyn[i].d_un.d_ptr);
			break;
		case DT_STRSZ:
			l->strings_size = dyn[i].d_un.d_val;
			break;
		default:
			break;
		}
	}
	return l->symbols && l->strings && l->hash ? 0 : -ENOENT;
}

static int find_loaded(struct loaded *l, uint64_t start)
{
	Elf64_Phdr segments[SEGMENTS_MAX];
	const Elf64_Phdr *dynamic = NULL;
	bool placed = false;
	Elf64_Ehdr h;
	int r;

	r = MEMORY_READ(l->m, start, &h);
	if (r < 0)
		return r;
	if (memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 || h.e_ident[EI_CLASS] != ELFCLASS64 ||
	    h.e_ident[EI_DATA] != ELFDATA2LSB || h.e_machine != EM_X86_64 ||
	    h.e_phentsize != sizeof(segments[0]) || h.e_phnum > SEGMENTS_MAX)
		return -ENOEXEC;
	r = memory_read(l->m, start + h.e_phoff, segments, h.e_phnum * sizeof(segments[0]));
	if (r < 0)
		return r;
	for (size_t i = 0; i < h.e_phnum; i++) {
		const Elf64_Phdr *ph = &segments[i];

		if (ph->p_type == PT_LOAD && !placed && ph->p_offset < 4096) {
			l->bias = start - (ph->p_vaddr - ph->p_offset);
			placed = true;
		} else if (ph->p_type == PT_DYNAMIC) {
			dynamic = ph;
		}
	}
	return placed && dynamic ? read_dynamic(l, dynamic) : -ENOENT;
}

/* The hash of a name in a GNU hash table: Bernstein's, as the linkers compute it. */
static uint32_t gnu_hash(const char *name)
{
	uint32_t hash = 5381;

	for (; *name; name++)
		hash = hash * 33 + (unsigned char)*name;
	return hash;
}

static bool is_loaded_name(const struct loaded *l, const Elf64_Sym *sym, const char *name)
{
	size_t size = strlen(name) + 1;
	char found[NAME_SIZE_MAX];

	return size <= sizeof(found) && sym->st_name < l->strings_size &&
	       size <= l->strings_size - sym->st_name &&
	       memory_read(l->m, l->strings + sym->st_name, found, size) == 0 &&
	       memcmp(found, name, size) == 0;
}

/* One name's address in the target, or 0. The table: a header of four words, a Bloom filter of
 * 64-bit words, the buckets, and a chain of hashes whose lowest bit marks the end. */
static uint64_t find_loaded_symbol(const struct loaded *l, const char *name)
{
	uint32_t wanted = gnu_hash(name), index, hash;
	struct {
		uint32_t buckets, first, bloom_words, bloom_shift;
	} header;
	uint64_t buckets, chain;
	Elf64_Sym sym;

	if (MEMORY_READ(l->m, l->hash, &header) < 0 || header.buckets == 0)
		return 0;
	buckets = l->hash + sizeof(header) + (uint64_t)header.bloom_words * 8;
	chain = buckets + (uint64_t)header.buckets * 4;
	if (MEMORY_READ(l->m, buckets + (uint64_t)(wanted % header.buckets) * 4, &index) < 0 ||
	    index < header.first)
		return 0;
	for (size_t i = 0; i < CHAIN_MAX; i++, index++) {
		if (MEMORY_READ(l->m, chain + (uint64_t)(index - header.first) * 4, &hash) < 0)
			return 0;
		if ((hash | 1) == (wanted | 1) &&
		    MEMORY_READ(l->m, l->symbols + (uint64_t)index * sizeof(sym), &sym) == 0 &&
		    sym.st_shndx != SHN_UNDEF && sym.st_value != 0 && is_loaded_name(l, &sym, name))
			return l->bias + sym.st_value;
		if (hash & 1)
			return 0;
	}
	return 0;
}

int elf_loaded_symbols(struct memory *m, uint64_t start, const char *const *names, uint64_t *values,
		       size_t n)
{
	struct loaded l = {.m = m};
	int found = 0;

	if (find_loaded(&l, start) < 0)
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (values[i] != 0)
			continue;
		values[i] = find_loaded_symbol(&l, names[i]);
		found += values[i] != 0;
	}
	return found;
}
