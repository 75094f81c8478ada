/*
 * bcryptprimitives.dll for Wine before 9.0, which lacks it. Go's runtime needs its
 * ProcessPrng and aborts without it. SystemFunction036 is RtlGenRandom,
 * which Wine has in advapi32.
 */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length)
{
	while (length > 0) {
		ULONG n = length > 0x10000 ? 0x10000 : (ULONG)length;

		if (!SystemFunction036(data, n))
			return FALSE;
		data += n;
		length -= n;
	}
	return TRUE;
}
